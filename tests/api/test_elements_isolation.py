"""Who may write which layer, and who does not even see it."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused
from tests.api.samples import ACTION

pytestmark = pytest.mark.usefixtures("crm_integration")

LIMIT = {"config": {"request": {"query": {"limit": 5}}}}


async def test_a_tenant_never_writes_above_its_layer(acme, manager):
    """What stands above is visible and not a tenant's to archive, nor to make at all."""
    made = await ok(manager.post("/actions", json=ACTION), 201)
    await refused(acme.delete(f"/actions/{made['id']}"), 403, "access_denied")
    await refused(acme.delete("/actions/list-deals"), 403, "access_denied")
    for kind, body in (
        ("integrations", {"connectorKey": "crm", "key": "mine"}),
        ("external-apps", {"key": "mine"}),
    ):
        await refused(acme.post(f"/{kind}", json=body), 403, "access_denied")
        await refused(acme.patch(f"/{kind}/crm", json={"name": "x"}), 403, "access_denied")
        await refused(acme.delete(f"/{kind}/crm"), 403, "access_denied")
        assert (await ok(acme.get(f"/{kind}/crm")))["isReadOnly"] is True
    await refused(acme.patch("/actions/list-deals", json={"cost": {"ai": 0}}), 403)
    left = await ok(manager.get(f"/actions/{made['id']}"))
    assert (left["revision"], left["archivedAt"]) == (made["revision"], None)


async def test_another_tenants_rows_are_not_there(acme, globex):
    """Ids of acme's definitions and customisations are 404 for globex, for every verb."""
    made = await ok(acme.post("/actions", json=ACTION), 201)
    await ok(acme.patch("/actions/list-deals", json=LIMIT))
    row = (await ok(acme.get("/actions/list-deals?layer=tenant")))["id"]
    for selector in (made["id"], made["key"], row):
        path = f"/actions/{selector}"
        for answer in (
            *(globex.get(path), globex.get(f"/action?id={selector}"), globex.delete(path)),
            *(globex.patch(path, json={"timeout": 1}), globex.put(path, json=ACTION)),
            *(globex.post(f"{path}/{verb}") for verb in ("reset", "restore", "setup")),
        ):
            await refused(answer, 404, "not_found")
    assert (await ok(globex.get("/actions?includeArchived=true&search=say-hello")))["items"] == []
    await refused(globex.post("/actions", json={"parentId": row, "timeout": 1}), 404)


async def test_another_tenants_connection_is_not_there(acme, globex, connect):
    """A connection's layer is its tenant's: 404 for globex, 403 for a manager who writes."""
    connection = await connect("main")
    for answer in (
        globex.get(f"/actions/list-deals?connectionId={connection}"),
        globex.patch(f"/actions/list-deals?connectionId={connection}", json=LIMIT),
        globex.post(f"/actions?connectionId={connection}", json=ACTION),
        globex.get(f"/connections/{connection}/actions"),
        globex.get("/connections/main/actions/list-deals"),
    ):
        await refused(answer, 404, "not_found")


async def test_a_manager_looks_on_but_does_not_write_for_a_tenant(acme, manager, connect):
    """A manager sees a tenant's elements by `tenantId` or by their ids, and cannot change them."""
    connection = await connect("main")
    await ok(acme.patch("/actions/list-deals", json=LIMIT))
    row = await ok(acme.get("/actions/list-deals?layer=tenant"))
    seen = await ok(manager.get("/actions/list-deals?tenantId=acme"))
    assert (seen["layer"], seen["tenantId"], seen["isReadOnly"]) == (
        "tenant",
        row["tenantId"],
        True,
    )
    assert (await ok(manager.get(f"/actions/{row['id']}")))["isCustomized"] is True
    for answer in (
        manager.patch(f"/actions/{row['id']}", json={"timeout": 1}),
        manager.patch(f"/actions/list-deals?connectionId={connection}", json={"timeout": 1}),
        manager.post("/actions/list-deals/reset?tenantId=acme"),
    ):
        await refused(answer, 403, "access_denied")


async def test_the_workspace_narrows_what_tenants_adapt(acme, manager, platform, workspace):
    """With `editablePaths` only what lies below them may differ; the error names the path."""
    await platform.rows(
        "UPDATE workspaces SET settings = %s::jsonb WHERE id = %s RETURNING id",
        '{"editablePaths": {"action": ["/config/request/query", "/name"]}}',
        workspace.id,
    )
    await ok(acme.patch("/actions/list-deals", json={**LIMIT, "name": "Mine"}))
    body = await refused(
        acme.patch("/actions/list-deals", json={"config": {"request": {"path": "/api/me"}}}),
        *(403, "access_denied"),
    )
    assert body["data"]["path"] == "/config/request/path"
    whole = {**await ok(acme.get("/actions/list-deals")), "timeout": 1}
    body = await refused(acme.put("/actions/list-deals", json=whole), 403)
    assert body["data"]["path"] == "/timeout"
    await refused(acme.post("/actions", json={**ACTION, "key": "list-deals"}), 403)
    await ok(acme.post("/actions", json=ACTION), 201)
    await ok(manager.patch("/actions/list-deals", json={"timeout": 1}))
