"""Which token a call carries."""

from __future__ import annotations

import time
from types import SimpleNamespace

import jwt
import pytest

from tests.client.scripted_api import SECRET, Reply
from vesicle import AsyncVesicle, Identity, Vesicle, tokens


def _token(expires_in=3600, **claims: str):
    return jwt.encode({**claims, "exp": int(time.time()) + expires_in}, SECRET, algorithm="HS512")


def test_a_tenants_token_says_who_it_is(api, vesicle):
    """A minted token is HS512, lasts an hour and has just the claims that were given."""
    api.will(Reply(), Reply(), Reply())

    vesicle.tenant("acme", name="Acme Corp", fields={"plan": "pro"}).self()
    vesicle.tenant("globex").self()
    vesicle.admin().usage()

    acme, globex, admin = (asked.claims for asked in api.asked)
    assert jwt.get_unverified_header(api.asked[0].token)["alg"] == "HS512"
    assert 3590 < acme.pop("exp") - time.time() <= 3600
    assert acme == {
        "workspaceKey": "ws",
        "tenantKey": "acme",
        "name": "Acme Corp",
        "fields": {"plan": "pro"},
    }
    assert globex.keys() == {"workspaceKey", "tenantKey", "exp"}
    assert admin.keys() == {"workspaceKey", "isAdmin", "exp"}


def test_a_minted_token_is_replaced_in_its_last_minute(api, vesicle, monkeypatch):
    """A scope keeps its token until sixty seconds remain, and then makes another."""
    now = time.time()
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=lambda: now))
    acme = vesicle.tenant("acme")
    for moved in (0, 3538, 3):
        now += moved
        api.will(Reply())
        acme.self()

    first, second, third = (asked.token for asked in api.asked)
    assert first == second != third


def test_a_given_token_is_used_as_it_is(api):
    """A token that somebody else made is sent untouched, whether or not it can be read."""
    api.will(Reply(), Reply())
    readable = _token(tenantKey="acme")
    for token in (readable, "pat-opaque"):
        with Vesicle(token=token, api_url=api.url) as vesicle:
            vesicle.tenant("acme").self()

    assert [asked.token for asked in api.asked] == [readable, "pat-opaque"]


def test_a_given_token_cannot_act_for_another_tenant(api):
    """Asking for globex with acme's token fails here, instead of quietly acting for acme."""
    for token in (_token(tenantKey="acme"), _token(id="acme")):
        with Vesicle(token=token, api_url=api.url) as vesicle:
            with pytest.raises(ValueError, match="'acme', not for tenant 'globex'"):
                vesicle.tenant("globex")
            with pytest.raises(ValueError, match="not for a manager"):
                vesicle.admin()

    assert api.asked == []


def test_a_fetched_token_is_asked_for_again_before_it_expires(api):
    """The product's token service is asked per identity, and again in a token's last minute."""
    api.will(*[Reply()] * 4)
    asked_for = []

    def fetch(identity):
        asked_for.append(identity)
        return _token(3600 if identity.tenant_key else 59)

    with Vesicle(fetch_token=fetch, api_url=api.url) as vesicle:
        acme, admin = vesicle.tenant("acme", name="Acme Corp"), vesicle.admin()
        for scope in (acme, acme, admin, admin):
            scope.usage()

    manager = Identity(is_admin=True)
    assert asked_for == [Identity("acme", "Acme Corp"), manager, manager]


async def test_an_async_token_service_is_awaited(api):
    """fetch_token may be a coroutine function, and its errors are the caller's."""
    api.will(Reply())

    async def fetch(identity):
        if identity.is_admin:
            raise LookupError("no such identity")
        return "opaque"

    async with AsyncVesicle(fetch_token=fetch, api_url=api.url) as vesicle:
        await vesicle.tenant("acme").self()
        with pytest.raises(LookupError):
            await vesicle.admin().usage()

    assert [asked.token for asked in api.asked] == ["opaque"]


def test_a_token_with_a_line_end_is_refused(api):
    """A token read from a file with its newline fails with a clear word and is not shown."""
    with (
        Vesicle(token="opaque\n", api_url=api.url) as vesicle,
        pytest.raises(ValueError, match="printable ASCII") as caught,
    ):
        vesicle.tenant("acme").self()

    assert "opaque" not in str(caught.value)
    assert api.asked == []


def test_an_empty_tenant_key_is_refused(vesicle):
    """A tenant that the product forgot to name is not taken for the workspace."""
    with pytest.raises(ValueError, match="empty"):
        vesicle.tenant("")
