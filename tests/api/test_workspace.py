"""A workspace's management of itself."""

from __future__ import annotations

import pytest

from tests.api import seeds
from tests.api.asking import ok, refused

PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


async def test_a_manager_sees_and_changes_its_workspace(platform, workspace, manager):
    """Name and settings are merged one by one, null takes a setting back, all of it on record."""
    shown = await ok(manager.get("/workspace"))
    assert (shown["id"], shown["key"], shown["settings"]) == (str(workspace.id), workspace.key, {})
    key = {"name": "main", "publicKey": PEM}
    await ok(manager.patch("/workspace", json={"name": "Deals", "settings": {"publicKeys": [key]}}))
    paths = {"action": ["/config/request/query"]}
    changed = await ok(manager.patch("/workspace", json={"settings": {"editablePaths": paths}}))
    assert changed["name"] == "Deals"
    assert changed["settings"] == {"publicKeys": [key], "editablePaths": paths}
    changed = await ok(manager.patch("/workspace", json={"settings": {"publicKeys": None}}))
    assert changed["settings"] == {"editablePaths": paths}
    trail = await platform.rows(
        "SELECT tag, actor, changes FROM audit_records WHERE workspace_id = %s ORDER BY id",
        workspace.id,
    )
    assert [row["tag"] for row in trail] == ["workspace:changed"] * 3
    assert trail[2]["changes"] == {"settings": {"publicKeys": None}}


async def test_a_rotation_is_on_record_without_the_secret(platform, workspace, manager):
    """The audit trail says that the secret was rotated, and does not know it."""
    secret = (await ok(manager.post("/workspace/rotate-secret")))["secret"]
    (row,) = await platform.rows(
        "SELECT * FROM audit_records WHERE workspace_id = %s", workspace.id
    )
    assert (row["tag"], row["changes"]) == ("workspace:secret_rotated", {"overlapSeconds": 3600})
    assert secret not in str(row)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"colour": "red"}, "/colour"),
        ({"key": "other"}, "/key"),
        ({"name": ""}, "/name"),
        ({"settings": {"colour": "red"}}, "/settings/colour"),
        ({"settings": {"publicKeys": {}}}, "/settings/publicKeys"),
        ({"settings": {"publicKeys": [{"name": "a"}]}}, "/settings/publicKeys/0/publicKey"),
        ({"settings": {"publicKeys": [{"name": "a", "publicKey": "x"}]}}, "/settings/publicKeys/0"),
        (
            {"settings": {"publicKeys": [{"name": "a b", "publicKey": PEM}]}},
            "/settings/publicKeys/0/name",
        ),
        (
            {"settings": {"publicKeys": [{"name": "a", "publicKey": PEM}] * 2}},
            "/settings/publicKeys",
        ),
        ({"settings": {"jwksUri": "ftp://keys.example"}}, "/settings/jwksUri"),
        ({"settings": {"jwksUri": "https://169.254.169.254/"}}, "/settings/jwksUri"),
        ({"settings": {"jwksUri": 5}}, "/settings/jwksUri"),
        ({"settings": {"disableSecretKeyAuth": "yes"}}, "/settings/disableSecretKeyAuth"),
        ({"settings": {"editablePaths": {"potato": []}}}, "/settings/editablePaths"),
        ({"settings": {"editablePaths": {"action": ["config"]}}}, "/settings/editablePaths"),
        ([], "/"),
    ],
)
async def test_bad_settings_are_refused_by_path(manager, body, path):
    """Unknown keys and wrong values are named, and nothing of the request is kept."""
    error = await refused(manager.patch("/workspace", json=body), 400)
    named = error["data"].get("errors", [error["data"]])[0]["path"]
    assert named.startswith(path)
    assert (await ok(manager.get("/workspace")))["settings"] == {}


async def test_a_private_key_is_no_public_key(manager):
    """A workspace that pastes its private key is told so and the key is not stored."""
    private = PEM.replace("PUBLIC", "PRIVATE")
    settings = {"publicKeys": [{"name": "a", "publicKey": private}]}
    error = await refused(manager.patch("/workspace", json={"settings": settings}), 400)
    assert private not in str(error)


async def test_the_workspace_is_managed_by_its_managers_only(make_workspace, acme, workspace):
    """A tenant's token gets 403; another workspace's manager reaches its own only."""
    await seeds.tenant_id(acme)
    for method, path in (
        ("GET", "/workspace"),
        ("PATCH", "/workspace"),
        ("POST", "/workspace/rotate-secret"),
    ):
        await refused(acme.request(method, path, json={}), 403, "access_denied")
    stranger = await (await make_workspace()).manager()
    assert (await ok(stranger.get("/workspace")))["id"] != str(workspace.id)
