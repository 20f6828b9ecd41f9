"""Access tokens that are accepted, and those that we mint."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import clock
from runtime.errors import BadRequestError, NotAuthenticatedError
from runtime.tenants.claims import is_key
from runtime.tenants.tokens import SigningKeys, mint, new_secret, peek_workspace_key
from tests.unit.tenants.forge import (
    GOOD,
    NOT_GENUINE,
    NOW,
    SECRET,
    T,
    check,
    refusal,
    sign,
    with_claims,
)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_token_that_jsonwebtoken_makes_is_accepted(algorithm):
    """The documented spelling, with each of the three algorithms of a shared secret."""
    payload = {**GOOD, "name": "Acme Corp", "fields": {"plan": "pro"}, "iat": T}
    claims = await check(sign(payload, algorithm=algorithm))
    assert (claims.workspace_key, claims.tenant_key, claims.name) == ("ws-1", "acme", "Acme Corp")
    assert claims.fields == {"plan": "pro"}
    assert claims.is_admin is False
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + timedelta(hours=1))


async def test_a_token_that_the_published_client_mints_is_accepted():
    """HS256 with `id`, `iss` and `exp` in this order, compact JSON, as its own code writes it."""
    payload = f'{{"id":"acme","iss":"ws-1","exp":{T + 3600}}}'
    token = sign(payload, '{"alg":"HS256","typ":"JWT"}')
    claims = await check(token)
    assert (claims.workspace_key, claims.tenant_key) == ("ws-1", "acme")
    assert (claims.name, claims.fields) == (None, None)
    assert peek_workspace_key(token) == "ws-1"


async def test_both_spellings_may_agree():
    """A token with both spellings is accepted if they say the same."""
    claims = await check(with_claims(iss="ws-1", id="acme"))
    assert (claims.workspace_key, claims.tenant_key) == ("ws-1", "acme")


async def test_a_manager_token_names_no_tenant():
    """`isAdmin: true` without tenant speaks for the workspace; false is as good as absent."""
    claims = await check(with_claims(tenantKey=None, isAdmin=True))
    assert (claims.is_admin, claims.tenant_key) == (True, None)
    claims = await check(with_claims(isAdmin=False))
    assert (claims.is_admin, claims.tenant_key) == (False, "acme")


async def test_unknown_claims_and_null_profile_are_ignored():
    """What we do not know authorises nothing and disturbs nothing; a null name is no name."""
    payload = {
        **GOOD,
        "sub": "x",
        "scope": "admin",
        "role": "manager",
        "name": None,
        "fields": None,
    }
    claims = await check(sign(payload))
    assert (claims.is_admin, claims.name, claims.fields) == (False, None, None)


@pytest.mark.parametrize("audience", ["vesicle", "ws-1", ["other", "vesicle"]])
async def test_a_token_for_us_may_say_so(audience):
    """An audience is accepted if it names this product or the workspace."""
    assert (await check(with_claims(aud=audience))).tenant_key == "acme"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt"])
async def test_the_usual_types_are_accepted(kind):
    """The header's `typ` is compared without regard to case."""
    assert await check(sign(GOOD, {"alg": "HS256", "typ": kind}))


@pytest.mark.parametrize(
    "key",
    ["a", "customer-123", "x" * 255, "Ünïcode-客户", "👩‍🚀", "user@acme.example", "a b", "|*?/.."],
)
async def test_a_tenant_key_is_nearly_any_text(key):
    """Keys are the product's own ids, so nothing printable is forbidden."""
    assert (await check(with_claims(tenantKey=key))).tenant_key == key


async def test_a_token_without_issue_time_counts_as_old():
    """It passes for the oldest it can be, so it never overrules a token that says its age."""
    older = await check(with_claims())
    newer = await check(with_claims(exp=T + 3700))
    said = await check(with_claims(iat=T - 3600))
    assert older.issued_at == NOW + timedelta(hours=1) - timedelta(hours=24)
    assert older.issued_at < newer.issued_at < said.issued_at


async def test_the_signers_clock_may_be_off_by_the_leeway():
    """Expiry, `nbf` and `iat` are accepted within the leeway and not a second beyond."""
    assert await check(with_claims(exp=T - 29))
    assert await check(with_claims(nbf=T + 30, iat=T + 30))
    assert await check(with_claims(exp=T + 24 * 3600 + 30))
    assert await refusal(with_claims(exp=T - 30)) == "The access token has expired."
    assert "`nbf` is in the future" in await refusal(with_claims(nbf=T + 31))
    assert "`iat` is in the future" in await refusal(with_claims(iat=T + 31))
    assert "24 hours" in await refusal(with_claims(exp=T + 24 * 3600 + 31))


async def test_fields_may_be_sixteen_kilobytes():
    """The largest `fields` fit into a token, their size being that of compact JSON."""
    fields = {"x": "y" * (16_384 - len('{"x":""}'))}
    assert (await check(with_claims(fields=fields))).fields == fields


def test_a_token_without_a_usable_workspace_cannot_be_looked_up():
    """Peeking is as strict about the workspace's key as verifying."""
    for claims in ({"workspaceKey": None}, {"workspaceKey": "a\0"}, {"iss": "ws-2"}):
        with pytest.raises(NotAuthenticatedError):
            peek_workspace_key(with_claims(**claims))


@given(
    tenant=st.text(min_size=1, max_size=255).filter(is_key),
    name=st.none() | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=255),
    fields=st.none()
    | st.dictionaries(st.text("abc", max_size=5), st.integers(-9, 9) | st.none(), max_size=5),
    algorithm=st.sampled_from(["HS256", "HS384", "HS512"]),
)
async def test_what_is_minted_verifies(tenant, name, fields, algorithm):
    """Whatever tenant, name and fields are minted come out of verification."""
    token = mint("ws-1", SECRET, tenant_key=tenant, name=name, fields=fields, algorithm=algorithm)
    claims = await check(token, now=clock.now())
    assert (claims.tenant_key, claims.name, claims.fields) == (tenant, name, fields)
    assert peek_workspace_key(token) == claims.workspace_key == "ws-1"
    assert claims.expires_at - claims.issued_at == timedelta(hours=2)


async def test_a_new_secret_signs_every_algorithm():
    """A secret that we make is long enough for HS512 and never the same twice."""
    one, two = new_secret(), new_secret()
    assert one != two
    for algorithm in ("HS256", "HS384", "HS512"):
        token = mint("ws-1", one, admin=True, algorithm=algorithm)
        assert (await check(token, SigningKeys((one.encode(),)), clock.now())).is_admin
        assert await refusal(token, SigningKeys((two.encode(),)), clock.now()) == NOT_GENUINE


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"tenant_key": ""},
        {"tenant_key": "acme", "admin": True},
        {"tenant_key": "acme", "lifetime": 24 * 3600 + 1},
        {"tenant_key": "acme", "lifetime": -1},
        {"tenant_key": "acme", "name": "\0"},
        {"tenant_key": "acme", "fields": {"x": "y" * 20_000}},
        {"tenant_key": "acme", "fields": {"x": object()}},
        {"tenant_key": "acme", "fields": json.loads('{"a":' * 9 + "1" + "}" * 9)},
        {"tenant_key": "acme", "algorithm": "RS256"},
        {"tenant_key": "acme", "algorithm": "none"},
        {"tenant_key": "acme", "secret": "short"},
    ],
    ids=lambda arguments: ",".join(arguments) or "nothing",
)
def test_nothing_is_minted_that_would_be_refused(arguments):
    """A wrong tenant, lifetime, profile, algorithm or secret is a bad request, not a bad token."""
    with pytest.raises(BadRequestError) as caught:
        mint("ws-1", **{"secret": SECRET, **arguments})
    assert SECRET not in caught.value.message
