"""What is remembered about verified tokens, and for how long."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest

from runtime import clock
from runtime.errors import NotAuthenticatedError
from runtime.tenants import tokens
from runtime.tenants.tokens import PublicKey, SigningKeys, VerifiedTokens
from tests.unit.tenants.forge import (
    GOOD,
    KEYS,
    NOW,
    P256,
    P384,
    SECRET,
    T,
    jwk_of,
    key_set,
    pem,
    respell,
    sign,
    with_claims,
)


class Counted:
    """The remembered verification, with a count of how often a signature was really checked."""

    def __init__(self, monkeypatch) -> None:
        self.checks = 0
        self.memory = VerifiedTokens()
        real = tokens._is_signed

        def counting(compact, key):
            self.checks += 1
            return real(compact, key)

        monkeypatch.setattr(tokens, "_is_signed", counting)

    async def verify(self, token, keys=KEYS, now=NOW):
        return await self.memory.verify(token, keys, now=now, leeway=30)


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


async def test_a_verified_token_is_remembered_for_five_seconds(counted, monkeypatch):
    """Within five seconds the signature is checked once, afterwards once more."""
    token = sign(GOOD)
    first = await counted.verify(token)
    assert await counted.verify(token) is first
    assert counted.checks == 1
    later = clock.monotonic() + 5.1
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert await counted.verify(token) == first
    assert counted.checks == 2


async def test_a_remembered_token_still_expires(counted):
    """Memory never lets a token live past its expiry."""
    token = with_claims(exp=T + 1)
    await counted.verify(token)
    with pytest.raises(NotAuthenticatedError, match="expired"):
        await counted.verify(token, now=NOW + timedelta(seconds=31))


async def test_memory_does_not_outlive_a_change_of_keys(counted):
    """Another secret, the switch, another public key or another key set: nothing is remembered."""
    token = sign(GOOD)
    await counted.verify(token)
    for keys in (
        SigningKeys(),
        SigningKeys(secrets=(SECRET[::-1].encode(),)),
        SigningKeys(secrets=(SECRET.encode(),), secret_auth_disabled=True),
        key_set(jwk_of(P256)),
    ):
        with pytest.raises(NotAuthenticatedError, match="not valid"):
            await counted.verify(token, keys)
    checks = counted.checks
    assert await counted.verify(token, SigningKeys(KEYS.secrets, (PublicKey("a", pem(P256)),)))
    assert counted.checks == checks + 1


async def test_memory_does_not_outlive_a_change_of_key_set(counted):
    """A workspace that names another key set is asked anew, though nothing else has changed."""
    token = jwt.encode(GOOD, P256, algorithm="ES256")
    assert await counted.verify(token, key_set(jwk_of(P256)))
    with pytest.raises(NotAuthenticatedError, match="not valid"):
        await counted.verify(token, key_set(jwk_of(P384)))


async def test_a_refusal_is_not_remembered(counted):
    """A token that was too early is accepted as soon as its time has come."""
    token = with_claims(nbf=T + 40)
    with pytest.raises(NotAuthenticatedError):
        await counted.verify(token)
    assert await counted.verify(token, now=NOW + timedelta(seconds=10))


async def test_memory_goes_by_the_exact_text(counted):
    """A remembered token does not vouch for another text that some readers would take for it."""
    token = sign(GOOD)
    await counted.verify(token)
    for other in (
        token + "=",
        token + "\n",
        token + "\ud800",
        respell(token),
    ):
        with pytest.raises(NotAuthenticatedError):
            await counted.verify(other)
