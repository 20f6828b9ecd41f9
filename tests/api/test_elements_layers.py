"""Elements at their layers: what a tenant customises is its own, and nearest wins."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import ok, refused

pytestmark = pytest.mark.usefixtures("crm_integration")

LIMIT = {"config": {"request": {"query": {"limit": 5}}}}


ACTION = {
    "name": "Say hello",
    "type": "run-python",
    "config": {"function": "hello", "input": {"to": {"$var": "$.input.name"}}},
}


async def test_a_tenants_customisation_is_its_own(acme, globex, manager):
    """What acme changes is in force for acme; globex and the workspace see nothing of it."""
    mine = await ok(acme.patch("/actions/list-deals", json=LIMIT))
    assert mine["config"]["request"]["query"]["limit"] == 5
    assert (mine["layer"], mine["isCustomized"]) == ("tenant", True)

    again = await ok(acme.get("/actions/list-deals"))
    assert again["config"]["request"]["query"]["limit"] == 5
    for other in (globex, manager):
        theirs = await ok(other.get("/actions/list-deals"))
        assert theirs["config"]["request"]["query"]["limit"] == {"$var": "$.input.limit"}
        assert (theirs["layer"], theirs["isCustomized"]) == ("universe", False)
        assert theirs["id"] == mine["id"]
        listed = await ok(other.get("/actions?search=list-deals"))
        assert [item["isCustomized"] for item in listed["items"]] == [False, False]


async def test_every_layer_has_its_say(acme, manager, connect):
    """Universe, workspace, integration, tenant and connection lie over each other in this order."""
    connection = await connect("main")
    path = "/actions/crm.list-deals"
    await ok(manager.patch("/actions/list-deals", json={"name": "W", "description": "W"}))
    await ok(manager.patch(path, json={"description": "I", "timeout": 11}))
    await ok(acme.patch("/actions/list-deals", json={"timeout": 12, "meta": {"by": "T"}}))
    await ok(
        acme.patch(f"/connections/{connection}/actions/list-deals", json={"meta": {"by": "C"}})
    )

    effective = await ok(
        acme.get(f"/actions/list-deals?connectionId={connection}&layer=effective&explain=true")
    )
    origin = effective["explain"]
    assert {path: origin[path] for path in ("/type", "/name", "/description")} == {
        "/type": "universe",
        "/name": "workspace",
        "/description": "integration",
    }
    assert (origin["/timeout"], origin["/meta/by"]) == ("tenant", "connection")
    assert (effective["name"], effective["description"]) == ("W", "I")
    assert (effective["timeout"], effective["meta"]) == (12, {"by": "C"})
    assert [layer["layer"] for layer in effective["layers"]] == [
        *("universe", "workspace", "integration", "tenant", "connection")
    ]
    assert effective["layers"][3]["spec"] == {"timeout": 12, "meta": {"by": "T"}}
    assert effective["connectionId"] == connection

    without = await ok(acme.get("/actions/list-deals"))
    assert without["meta"] == {"by": "T"}
    assert without["description"] == "W"


async def test_one_layer_is_shown_as_it_is_stored(acme, manager):
    """`layer=tenant` is the tenant's own patch; a layer where nothing stands is 404."""
    await ok(acme.patch("/actions/list-deals", json=LIMIT))
    stored = await ok(acme.get("/actions/list-deals?layer=tenant"))
    assert stored["config"] == LIMIT["config"]
    assert "type" not in stored
    assert stored["revision"] == 1
    whole = await ok(acme.get("/actions/list-deals?layer=universe"))
    assert whole["id"] == stored["parentId"]
    await refused(acme.get("/actions/list-deals?layer=workspace"), 404, "not_found")
    await refused(manager.get("/actions/list-deals?layer=tenant"), 404, "not_found")
    await refused(acme.get("/actions/list-deals?layer=cellar"), 400)


async def test_a_change_below_is_in_force_above(acme, manager):
    """A customisation follows what it does not set itself."""
    await ok(acme.patch("/actions/list-deals", json=LIMIT))
    await ok(manager.patch("/actions/list-deals", json={"timeout": 33}))
    mine = await ok(acme.get("/actions/list-deals"))
    assert (mine["timeout"], mine["config"]["request"]["query"]["limit"]) == (33, 5)


async def test_reset_drops_the_customisation(acme, platform, workspace):
    """After reset the element is as its parent; the audit trail keeps what was dropped."""
    mine = await ok(acme.patch("/actions/list-deals", json=LIMIT))
    back = await ok(acme.post("/actions/list-deals/reset"))
    assert back["isCustomized"] is False
    assert back["revision"] != mine["revision"]
    again = await ok(acme.post("/actions/list-deals/reset"))
    assert again["revision"] == back["revision"]
    rows = await platform.rows(
        "SELECT tag, actor, target_key, changes FROM audit_records WHERE workspace_id = %s"
        " AND target_kind = 'action' ORDER BY id",
        workspace.id,
    )
    assert rows == [
        {
            "tag": tag,
            "actor": "tenant:acme",
            "target_key": "list-deals",
            "changes": LIMIT,
        }
        for tag in ("element:customised", "element:reset")
    ]


async def test_put_keeps_only_what_differs(acme):
    """A whole element that is put over one above becomes the patch between the two."""
    before = await ok(acme.get("/actions/list-deals"))
    before["timeout"] = 7
    del before["description"]
    after = await ok(acme.put("/actions/list-deals", json=before))
    assert after["timeout"] == 7
    assert "description" not in after
    stored = await ok(acme.get("/actions/list-deals?layer=tenant&explain=true"))
    kept = {name: stored[name] for name in ("timeout", "description", "name") if name in stored}
    assert kept == {"timeout": 7, "description": None}
    unchanged = await ok(acme.put("/actions/list-deals", json=after))
    assert unchanged["revision"] == after["revision"]


async def test_patches_add_up(acme):
    """Each patch merges into the customisation; null takes a value away, also one from below."""
    await ok(acme.patch("/actions/list-deals", json=LIMIT))
    await ok(
        acme.patch("/actions/list-deals", json={"config": {"request": {"query": {"stage": None}}}})
    )
    mine = await ok(acme.patch("/actions/list-deals", json={"description": None}))
    assert mine["config"]["request"]["query"] == {
        "limit": 5,
        "cursor": {"$var": "$.input.cursor"},
    }
    assert "description" not in mine


async def test_a_formula_is_replaced_whole(acme):
    """Half of one formula and half of another is neither: the patch's stands alone."""
    formula = {"$firstNotEmpty": [{"$var": "$.input.limit"}, 3]}
    mine = await ok(
        acme.patch(
            "/actions/list-deals", json={"config": {"request": {"query": {"limit": formula}}}}
        )
    )
    assert mine["config"]["request"]["query"]["limit"] == formula


async def test_concurrent_patches_are_all_in_force(acme, platform, workspace):
    """Twenty patches at once leave twenty values, one row and twenty revisions."""
    answers = await asyncio.gather(
        *(acme.patch("/actions/list-deals", json={"meta": {f"n{at}": at}}) for at in range(20))
    )
    assert [answer.status_code for answer in answers] == [200] * 20
    mine = await ok(acme.get("/actions/list-deals"))
    assert mine["meta"] == {f"n{at}": at for at in range(20)}
    rows = await platform.rows(
        "SELECT revision FROM elements WHERE workspace_id = %s AND layer = 'tenant'", workspace.id
    )
    assert rows == [{"revision": 20}]


async def test_a_stale_revision_is_refused(acme):
    """`If-Match` with the revision that was read works once; every answer has it as ETag."""
    answer = await acme.get("/actions/list-deals")
    read = answer.json()["revision"]
    assert answer.headers["etag"] == f'"{read}"'
    match = {"If-Match": answer.headers["etag"]}
    first = await acme.patch("/actions/list-deals", json={"timeout": 9}, headers=match)
    assert (first.status_code, first.headers["etag"]) == (200, f'"{first.json()["revision"]}"')
    second = acme.patch("/actions/list-deals", json={"timeout": 8}, headers=match)
    await refused(second, 412, "revision_conflict")
    bare = {"If-Match": first.json()["revision"]}
    await ok(acme.patch("/actions/list-deals", json={"timeout": 8}, headers=bare))
    own = {"If-Match": "2"}
    await ok(acme.patch("/actions/list-deals", json={"timeout": 6}, headers=own))
    await refused(acme.post("/actions/list-deals/reset", headers=own), 412, "revision_conflict")


async def test_a_tenant_never_writes_above_its_layer(acme, manager):
    """What stands above is visible and not a tenant's to archive, nor to make at all."""
    made = await ok(manager.post("/actions", json=ACTION), 201)
    await refused(acme.delete(f"/actions/{made['id']}"), 403, "access_denied")
    await refused(acme.delete("/actions/list-deals"), 403, "access_denied")
    for kind, body in (
        ("integrations", {"connectorKey": "crm", "key": "mine"}),
        ("connectors", {"key": "mine"}),
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
