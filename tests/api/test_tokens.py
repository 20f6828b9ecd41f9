"""Tokens end to end: whom they make, what they change, and which keys they are signed with."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from runtime.tenants.tokens import mint
from tests.api.asking import ok, refused
from tests.conftest import Client


def claims(workspace, **more):
    """Return the claims of a token for acme, which expires in an hour."""
    now = int(time.time())
    return {"workspaceKey": workspace.key, "tenantKey": "acme", "exp": now + 3600, **more}


async def asks(workspace, token, path="/self"):
    """Return the answer to a request with a token."""
    async with Client(workspace.app, token) as client:
        return await client.get(path)


def pem(key):
    """Return the public half of a key as text."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def test_fifty_first_requests_make_one_tenant(platform, workspace):
    """However many requests bring a new tenant key at once, there is one tenant of it."""
    tokens = [
        mint(workspace.key, workspace.secret, tenant_key="acme", name=f"Acme {number}")
        for number in range(50)
    ]
    answers = await asyncio.gather(*(asks(workspace, token) for token in tokens))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.json()["id"] for answer in answers}) == 1
    rows = await platform.rows("SELECT id FROM tenants WHERE workspace_id = %s", workspace.id)
    assert len(rows) == 1


async def test_name_and_fields_follow_the_newest_token(workspace, manager):
    """A newer token renames the tenant; an older one that is still valid does not undo it."""
    now = int(time.time())

    async def seen(issued, **said):
        token = jwt.encode(
            claims(workspace, iat=issued, **said), workspace.secret, algorithm="HS256"
        )
        await asks(workspace, token)
        tenant = await ok(manager.get("/customers/acme"))
        return tenant["name"], tenant["fields"]

    assert await seen(now - 100, name="First", fields={"plan": "free"}) == (
        "First",
        {"plan": "free"},
    )
    assert await seen(now - 50, name="Second") == ("Second", {"plan": "free"})
    assert await seen(now - 100, name="First", fields={}) == ("Second", {"plan": "free"})
    assert await seen(now - 40, fields={"plan": "pro"}) == ("Second", {"plan": "pro"})


async def test_what_a_manager_says_outlives_the_tokens_before_it(workspace, manager):
    """A rename by a manager stays until a token that was issued later says otherwise."""
    old = jwt.encode(
        claims(workspace, iat=int(time.time()) - 10, name="From the token"),
        workspace.secret,
        algorithm="HS512",
    )
    await asks(workspace, old)
    await ok(manager.patch("/customers/acme", json={"name": "By the manager"}))
    await asks(workspace, old)
    assert (await ok(manager.get("/customers/acme")))["name"] == "By the manager"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("names", [("workspaceKey", "tenantKey"), ("iss", "id")])
async def test_both_spellings_under_every_shared_algorithm(workspace, algorithm, names):
    """The documented claims and those that the published client mints mean the same."""
    payload = {names[0]: workspace.key, names[1]: "acme", "exp": int(time.time()) + 3600}
    token = jwt.encode(payload, workspace.secret, algorithm=algorithm)
    answer = await asks(workspace, token)
    assert (answer.status_code, answer.json()["internalId"]) == (200, "acme")


async def test_tokens_that_are_not_genuine_make_nobody(platform, workspace, make_workspace):
    """Unsigned, forged, expired and misdirected tokens get 401, and no tenant appears."""
    other = await make_workspace()
    good = claims(workspace)
    tokens = [
        jwt.encode(good, None, algorithm="none"),
        jwt.encode(good, "x" * 64, algorithm="HS512"),
        jwt.encode(good, other.secret, algorithm="HS512"),
        jwt.encode({**good, "workspaceKey": "nowhere"}, workspace.secret, algorithm="HS512"),
        jwt.encode({**good, "exp": int(time.time()) - 60}, workspace.secret, algorithm="HS512"),
        jwt.encode({**good, "exp": int(time.time()) + 90_000}, workspace.secret, algorithm="HS512"),
        "not-a-token",
    ]
    for token in tokens:
        answer = await asks(workspace, token)
        assert (answer.status_code, answer.json()["key"]) == (401, "not_authenticated"), token
    assert not await platform.rows("SELECT 1 FROM tenants WHERE workspace_id = %s", workspace.id)


async def test_two_secrets_are_valid_during_a_rotations_overlap(platform, workspace, manager):
    """The old secret signs on until the overlap ends; then only the new one does."""
    rotated = await ok(manager.post("/workspace/rotate-secret"))
    assert (len(rotated["secret"]), rotated["overlapSeconds"]) == (86, 3600)
    old, new = (
        mint(workspace.key, secret, tenant_key="acme")
        for secret in (workspace.secret, rotated["secret"])
    )
    assert (await asks(workspace, old)).status_code == 200
    assert (await asks(workspace, new)).status_code == 200
    shown = (await ok(manager.get("/workspace")))["secrets"]
    assert [secret["expiresAt"] is None for secret in shown] == [True, False]
    assert rotated["secret"] not in str(await ok(manager.get("/workspace")))
    await platform.rows(
        "UPDATE signing_secrets SET expires_at = now() WHERE workspace_id = %s"
        " AND expires_at IS NOT NULL RETURNING id",
        workspace.id,
    )
    workspace.app.state.services.changed(workspace.id)
    assert (await asks(workspace, old)).status_code == 401
    assert (await asks(workspace, new)).status_code == 200


async def test_a_rotation_without_overlap_ends_every_earlier_secret(workspace, manager):
    """After a leak one rotation is enough, also for what an earlier one left in its overlap."""
    first = await ok(manager.post("/workspace/rotate-secret", json={"overlapSeconds": 600}))
    second = await ok(manager.post("/workspace/rotate-secret", json={"overlapSeconds": 0}))
    for secret, status in (
        (workspace.secret, 401),
        (first["secret"], 401),
        (second["secret"], 200),
    ):
        token = mint(workspace.key, secret, tenant_key="acme")
        assert (await asks(workspace, token)).status_code == status


async def test_rotations_at_once_leave_one_current_secret(platform, workspace, manager):
    """Of several rotations at the same moment, the last one's secret is the current one."""
    await asyncio.gather(*(ok(manager.post("/workspace/rotate-secret")) for _ in range(5)))
    current = await platform.rows(
        "SELECT id FROM signing_secrets WHERE workspace_id = %s AND expires_at IS NULL",
        workspace.id,
    )
    assert len(current) == 1


@pytest.mark.parametrize("overlap", [-1, "long", 1e9, None])
async def test_a_bad_overlap_is_refused(manager, overlap):
    """The overlap is a number of seconds up to 30 days."""
    body = await refused(
        manager.post("/workspace/rotate-secret", json={"overlapSeconds": overlap}), 400
    )
    assert body["data"]["errors"][0]["path"] == "/overlapSeconds"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (rsa.generate_private_key(65537, 2048), "PS512"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
    ids=["RS256", "PS512", "ES384", "EdDSA"],
)
async def test_a_registered_public_key_verifies_tokens(workspace, manager, key, algorithm):
    """A key that is registered counts at once, and one that is taken back no longer does."""
    token = jwt.encode(claims(workspace), key, algorithm=algorithm)
    assert (await asks(workspace, token)).status_code == 401
    settings = {"publicKeys": [{"name": "main", "publicKey": pem(key)}]}
    await ok(manager.patch("/workspace", json={"settings": settings}))
    assert (await asks(workspace, token)).json()["internalId"] == "acme"
    named = jwt.encode(claims(workspace), key, algorithm=algorithm, headers={"kid": "other"})
    assert (await asks(workspace, named)).status_code == 401
    await ok(manager.patch("/workspace", json={"settings": {"publicKeys": None}}))
    assert (await asks(workspace, token)).status_code == 401


async def test_a_public_key_is_no_shared_secret(workspace, manager):
    """A token that is signed with the public key's text as a secret is refused."""
    key = rsa.generate_private_key(65537, 2048)
    settings = {"publicKeys": [{"name": "main", "publicKey": pem(key)}]}
    await ok(manager.patch("/workspace", json={"settings": settings}))
    head, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, claims(workspace))
    )
    mark = hmac.digest(pem(key).encode(), head + b"." + payload, "sha256")
    forged = b".".join([head, payload, base64.urlsafe_b64encode(mark).rstrip(b"=")]).decode()
    assert (await asks(workspace, forged)).status_code == 401


async def test_secret_authentication_can_be_switched_off(workspace, manager):
    """Then only public keys count; and it cannot be switched off by somebody without one."""
    body = await refused(
        manager.patch("/workspace", json={"settings": {"disableSecretKeyAuth": True}}), 400
    )
    assert body["data"]["errors"][0]["path"] == "/settings/disableSecretKeyAuth"
    key = ec.generate_private_key(ec.SECP256R1())
    settings = {
        "publicKeys": [{"name": "main", "publicKey": pem(key)}],
        "disableSecretKeyAuth": True,
    }
    await ok(manager.patch("/workspace", json={"settings": settings}))
    await refused(manager.get("/workspace"), 401, "not_authenticated")
    admin = {"workspaceKey": workspace.key, "isAdmin": True, "exp": int(time.time()) + 600}
    token = jwt.encode(admin, key, algorithm="ES256")
    assert (await asks(workspace, token, "/workspace")).status_code == 200


@pytest.fixture
def key_set():
    """A server on loopback that publishes a key set; yields its address and the set."""
    published = {"keys": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(published).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json", published
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_key_set_verifies_tokens(workspace, manager, key_set):
    """The workspace's JWKS is fetched and its keys verify, each for its own kid."""
    uri, published = key_set
    key, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    published["keys"] = [{**jwk, "kid": "k1", "use": "sig", "alg": "ES256"}]
    await ok(manager.patch("/workspace", json={"settings": {"jwksUri": uri}}))
    token = jwt.encode(claims(workspace), key, algorithm="ES256", headers={"kid": "k1"})
    assert (await asks(workspace, token)).json()["internalId"] == "acme"
    for signer, kid in ((stranger, "k1"), (key, "k2")):
        forged = jwt.encode(claims(workspace), signer, algorithm="ES256", headers={"kid": kid})
        assert (await asks(workspace, forged)).status_code == 401
