"""Elements at their layers: what a tenant customises is its own, and nearest wins."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import ok, refused
from tests.api.samples import ACTION

pytestmark = pytest.mark.usefixtures("crm_integration")

LIMIT = {"config": {"request": {"query": {"limit": 5}}}}


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
        # the same key in the connectors of two apps
        assert {item["isCustomized"] for item in listed["items"]} == {False}
        assert theirs["id"] in [item["id"] for item in listed["items"]]


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


async def test_a_connection_has_elements_of_its_own(acme, connect):
    """What is made or customised at a connection is in force there and nowhere else."""
    connection = await connect("main")
    made = await ok(acme.post("/connections/main/actions", json=ACTION), 201)
    assert (made["layer"], made["connectionId"]) == ("connection", connection)
    assert made["integrationKey"] == "crm"
    await ok(acme.put(f"/action?key=list-deals&connectionId={connection}"))
    before = await ok(acme.get("/connections/main/actions/list-deals"))
    assert before["isCustomized"] is False
    await ok(acme.put("/connections/main/actions/list-deals", json={**before, "timeout": 4}))
    items = (await ok(acme.get("/connections/main/actions?limit=1000")))["items"]
    found = {item["key"]: item for item in items}
    assert found["list-deals"]["timeout"] == 4
    assert found["say-hello"]["id"] == made["id"]
    assert {item.get("connectorKey", "crm") for item in items} == {"crm"}
    assert "timeout" not in await ok(acme.get("/actions/list-deals"))
    stored = (await ok(acme.get("/actions?layer=connection")))["items"]
    assert [item["key"] for item in stored] == ["say-hello", "list-deals"]
    back = await ok(acme.post("/connections/main/actions/list-deals/reset"))
    assert "timeout" not in back
    await ok(acme.delete("/connections/main/actions/say-hello"))
    await refused(acme.get("/connections/main/actions/say-hello"), 404)
