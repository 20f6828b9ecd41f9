"""Tokens at the door: every bad one is a 401 that gives nothing away."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta

import jwt
import pytest

from runtime.clock import now
from runtime.tenants.tokens import mint
from tests.bad_input.conftest import check_envelope
from tests.factories import new_workspace
from tests.unit.tenants.forge import RSA, encode, pem, sign


@pytest.fixture
def payload(shop):
    """The claims of a genuine token of acme's."""
    return {
        "workspaceKey": shop.workspace.key,
        "tenantKey": "acme",
        "exp": int(now().timestamp()) + 600,
    }


def _unsigned(payload, algorithm):
    header = {"alg": algorithm, "typ": "JWT"}
    return f"{encode(json.dumps(header).encode())}.{encode(json.dumps(payload).encode())}."


def _past(payload):
    return {**payload, "exp": int((now() - timedelta(minutes=5)).timestamp())}


#: What is wrong -> how to make it from genuine claims, the workspace's secret and another's.
BAD = {
    "expired": lambda claims, secret, _: sign(_past(claims), secret=secret),
    "unsigned": lambda claims, secret, _: sign(claims, secret=secret).rpartition(".")[0] + ".",
    "alg none": lambda claims, *_: _unsigned(claims, "none"),
    "alg NONE": lambda claims, *_: _unsigned(claims, "NoNe"),
    "signed by another workspace": lambda claims, _, other: sign(claims, secret=other),
    "of an unknown workspace": lambda claims, secret, _: sign(
        {**claims, "workspaceKey": "w-none"}, secret=secret
    ),
    "with an empty secret": lambda claims, *_: sign(claims, secret=""),
    "of an algorithm that is not allowed": lambda claims, *_: jwt.encode(
        claims, RSA, algorithm="RS256"
    ),
    "with the public key as the secret": lambda claims, *_: sign(claims, secret=pem(RSA)),
    "without an expiry": lambda claims, secret, _: sign(
        {name: value for name, value in claims.items() if name != "exp"}, secret=secret
    ),
    "without a tenant": lambda claims, secret, _: sign(
        {name: value for name, value in claims.items() if name != "tenantKey"}, secret=secret
    ),
    "an admin with a tenant": lambda claims, secret, _: sign(
        {**claims, "isAdmin": True}, secret=secret
    ),
    "an admin by a word": lambda claims, secret, _: sign(
        {**claims, "tenantKey": None, "isAdmin": "true"}, secret=secret
    ),
    "altered": lambda claims, secret, _: ".".join(
        (
            sign(claims, secret=secret).split(".")[0],
            sign({**claims, "tenantKey": "globex"}, secret=secret).split(".")[1],
            sign(claims, secret=secret).split(".")[2],
        )
    ),
    "no token": lambda *_: "acme",
    "empty": lambda *_: "",
    "ten thousand characters": lambda *_: "a" * 10_000,
    "three dots": lambda *_: "...",
    "of another alphabet": lambda *_: "\u00e9\u00e9.\u00e9\u00e9.\u00e9\u00e9",
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_token_opens_nothing(shop, anonymous, payload, globex_secret, what):
    """A token that is not genuine is refused with 401, without a word of what it named."""
    token = BAD[what](payload, shop.workspace.secret, globex_secret)
    header = f"Bearer {token}".encode("latin-1")
    answer = await anonymous.get("/runs", headers={"Authorization": header})
    body = check_envelope(answer, 401, key="not_authenticated")
    for word in (shop.workspace.key, "globex", "acme", shop.workspace.secret):
        assert word not in answer.text
    assert "data" not in body


@pytest.fixture(scope="module")
async def globex_secret(platform, app, shop):
    """The secret of a workspace of somebody else."""
    async with contextlib.AsyncExitStack() as stack:
        yield (await new_workspace(platform, app, stack)).secret


@pytest.mark.parametrize(
    "header", ["", "Basic YWNtZTpwYXNz", "Bearer", "Bearer a b", "Token x", "bearer\tx"]
)
async def test_another_kind_of_authorization_is_none(anonymous, header):
    """What is not a bearer token is answered like its absence, and says what to send."""
    answer = await anonymous.get("/runs", headers={"Authorization": header})
    check_envelope(answer, 401, key="not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_in_the_address_is_not_read(shop, anonymous):
    """A token in the query signs nobody in: addresses end up in logs."""
    token = mint(shop.workspace.key, shop.workspace.secret, tenant_key="acme")
    check_envelope(await anonymous.get(f"/runs?token={token}&access_token={token}"), 401)


async def test_the_genuine_one_opens(anonymous, shop, payload):
    """The claims of these tests, signed as they should be, are accepted."""
    token = sign(payload, secret=shop.workspace.secret)
    answer = await anonymous.get("/runs", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


async def test_strangers_make_no_tenants(platform, shop, anonymous, payload):
    """A token that is refused leaves no tenant behind."""
    token = sign({**payload, "tenantKey": "intruder"}, secret="x" * 64)
    await anonymous.get("/runs", headers={"Authorization": f"Bearer {token}"})
    assert not await platform.rows("SELECT 1 FROM tenants WHERE key = 'intruder'")
