"""The tokens of a run's code: only we make them, and each is good for one tenant and a while."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import NotAuthenticatedError
from runtime.keys import load_root_key
from runtime.settings import Settings
from runtime.tenancy import Owner
from runtime.tenants.run_tokens import RunTokens, is_run_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = uuid.UUID(int=7)
ACME, GLOBEX = (Owner(uuid.UUID(int=1), uuid.UUID(int=number)) for number in (2, 3))


def _root(*seeds: int):
    keys = [
        base64.b64encode(bytes((seed * 37 + i * 11) % 256 for i in range(32))) for seed in seeds
    ]
    return load_root_key(Settings(root_key=b",".join(keys).decode()))


TOKENS = RunTokens(_root(1))
TOKEN = TOKENS.mint(RUN, ACME, lifetime=50, now=NOW)


def test_a_token_names_its_tenant():
    """What was made for a tenant speaks for it, and looks like no JWT."""
    assert TOKENS.verify(TOKEN, now=NOW) == ACME
    assert is_run_token(TOKEN)
    assert not is_run_token("eyJhbGciOiJIUzI1NiJ9.e30.x")


def test_a_token_ends():
    """A token is good for as long as its run may last, and no longer."""
    with pytest.raises(NotAuthenticatedError, match="expired"):
        TOKENS.verify(TOKEN, now=NOW + timedelta(seconds=52))


def test_a_rotated_key_still_checks():
    """While root keys rotate, tokens of the earlier one are good; those of a strange one never."""
    assert RunTokens(_root(2, 1)).verify(TOKEN, now=NOW) == ACME
    with pytest.raises(NotAuthenticatedError):
        RunTokens(_root(2)).verify(TOKEN, now=NOW)


def test_another_tenants_name_does_not_fit():
    """Nobody turns a token into one of another tenant, workspace, run or time."""
    for place, part in enumerate(TOKEN.split(".")[1:-1], start=1):
        parts = TOKEN.split(".")
        parts[place] = part[:-1] + ("0" if part[-1] != "0" else "1")
        with pytest.raises(NotAuthenticatedError):
            TOKENS.verify(".".join(parts), now=NOW)


@given(st.text(max_size=200).map(lambda text: f"run.{text}"))
def test_any_text_is_refused(text):
    """Whatever else claims to be a token is refused, and nothing worse."""
    with pytest.raises(NotAuthenticatedError):
        TOKENS.verify(text, now=NOW)
