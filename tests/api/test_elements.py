"""Elements of every kind: made, read, listed, changed, archived and restored."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import ok, refused
from tests.api.samples import ACTION, CONNECTOR

KINDS = {
    "action": ACTION,
    "connector": CONNECTOR,
    "integration": {"key": "my-shop", "name": "Shop", "connectorKey": "shop"},
    "external-app": {"name": "Shop", "appUri": "https://shop.example"},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_has_the_same_life(kind, manager, platform, workspace):
    """Create, read, patch, put, archive, restore: in the plural and in the singular."""
    if kind == "integration":
        await ok(manager.post("/connectors", json=CONNECTOR), 201)
    made = await ok(manager.post(f"/{kind}s", json=KINDS[kind]), 201)
    key, path = made["key"], f"/{kind}s/{made['key']}"
    assert (made["layer"], made["state"], made["errors"]) == ("workspace", "READY", [])
    assert (made["isReadOnly"], made["isCustomized"], made["archivedAt"]) == (False, False, None)
    assert await ok(manager.get(path)) == made
    assert await ok(manager.get(f"/{kind}?key={key}")) == made
    assert await ok(manager.get(f"/{kind}?id={made['id']}")) == made
    assert [each["id"] for each in (await ok(manager.get(f"/{kind}s")))["items"]] == [made["id"]]

    patched = await ok(manager.patch(f"/{kind}?id={made['id']}", json={"name": "New"}))
    assert (patched["name"], patched["id"]) == ("New", made["id"])
    assert patched["revision"] != made["revision"]
    put = await ok(manager.put(path, json={**patched, "name": "Newer"}))
    assert put["name"] == "Newer"
    assert (await ok(manager.post(f"{path}/setup")))["state"] == "READY"

    archived = await ok(manager.delete(path))
    assert archived["archivedAt"]
    await refused(manager.get(path), 404, "not_found")
    assert (await ok(manager.get(f"/{kind}s")))["items"] == []
    shown = (await ok(manager.get(f"/{kind}s?includeArchived=true")))["items"]
    assert [each["archivedAt"] for each in shown] == [archived["archivedAt"]]
    await refused(manager.patch(f"/{kind}s/{made['id']}", json={"name": "Newest"}), 400)
    restored = await ok(manager.post(f"/{kind}/restore?key={key}"))
    assert (restored["id"], restored["archivedAt"]) == (made["id"], None)
    assert (await ok(manager.get(path)))["name"] == "Newer"

    rows = await platform.rows(
        "SELECT tag, actor FROM audit_records WHERE workspace_id = %s AND target_kind = %s"
        " ORDER BY id",
        *(workspace.id, kind),
    )
    assert [row["tag"].partition(":")[2] for row in rows] == [
        *("created", "changed", "changed", "archived", "restored")
    ]
    assert {row["actor"] for row in rows} == {"manager"}


async def test_a_tenant_makes_actions_of_its_own(acme, globex, manager):
    """A tenant's definition stands at its layer, with a key from its name."""
    made = await ok(acme.post("/actions", json={**ACTION, "name": "Grüß Gott!"}), 201)
    assert (made["layer"], made["key"], made["isReadOnly"]) == ("tenant", "gru-gott", False)
    assert made["tenantId"]
    for other in (globex, manager):
        assert (await ok(other.get("/actions?search=gru")))["items"] == []
    seen = await ok(manager.get(f"/actions?tenantId={made['tenantId']}"))
    assert [item["id"] for item in seen["items"]] == [made["id"]]
    await refused(globex.get(f"/actions?tenantId={made['tenantId']}"), 404)


async def test_a_key_is_taken_once_at_a_place(acme, globex, manager):
    """The same key again is 409; at another tenant's or the workspace's layer it is free."""
    await ok(acme.post("/actions", json={**ACTION, "key": "hello"}), 201)
    body = await refused(acme.post("/actions", json={**ACTION, "key": "hello"}), 409)
    assert (body["key"], body["data"]["errors"][0]["path"]) == ("already_exists", "/key")
    await ok(globex.post("/actions", json={**ACTION, "key": "hello"}), 201)
    await ok(manager.post("/actions", json={**ACTION, "key": "hello"}), 201)
    answers = await asyncio.gather(
        *(acme.post("/actions", json={**ACTION, "key": "race"}) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]


async def test_restore_is_refused_when_the_key_was_taken(acme):
    """What took an archived element's key has to go before it can come back."""
    first = await ok(acme.post("/actions", json={**ACTION, "key": "hello"}), 201)
    await ok(acme.delete("/actions/hello"))
    second = await ok(acme.post("/actions", json={**ACTION, "key": "hello"}), 201)
    await refused(acme.post(f"/actions/{first['id']}/restore"), 409, "already_exists")
    await ok(acme.delete(f"/actions/{second['id']}"))
    await ok(acme.post(f"/actions/{first['id']}/restore"))
    assert (await ok(acme.get("/actions/hello")))["id"] == first["id"]
    assert (await ok(acme.post(f"/actions/{first['id']}/restore")))["id"] == first["id"]


async def test_a_customisation_is_made_with_its_parents_id(acme, manager):
    """`parentId` in POST customises; a second one is 409, and archiving it says to reset it."""
    base = await ok(manager.post("/actions", json=ACTION), 201)
    mine = await ok(acme.post("/actions", json={"parentId": base["id"], "timeout": 5}), 201)
    assert (mine["id"], mine["timeout"], mine["layer"]) == (base["id"], 5, "tenant")
    assert mine["parentId"] == base["id"]
    again = acme.post("/actions", json={"parentId": base["id"], "timeout": 6})
    await refused(again, 409, "already_exists")
    body = await refused(acme.delete(f"/actions/{base['key']}"), 403, "access_denied")
    assert "reset" in body["message"]


async def test_a_definition_that_goes_leaves_customisations_that_say_so(acme, manager):
    """Without its parent a customisation is an error that says what to do, and can be reset."""
    base = await ok(manager.post("/actions", json=ACTION), 201)
    await ok(acme.patch("/actions/say-hello", json={"timeout": 5}))
    await ok(manager.delete("/actions/say-hello"))
    body = await ok(acme.get("/actions/say-hello"), 400)
    assert body["type"] == "configuration"
    assert "restore" in body["message"]
    assert (await ok(acme.get("/actions")))["items"] == []
    await ok(acme.post("/actions/say-hello/reset"))
    await refused(acme.get("/actions/say-hello"), 404)
    await ok(manager.post(f"/actions/{base['id']}/restore"))
    assert (await ok(acme.get("/actions/say-hello")))["isCustomized"] is False


async def test_pages_follow_each_other(acme, manager):
    """`cursor=0` is the start; each page's cursor leads to the next; the last has none."""
    made = [
        (
            await ok(
                (acme if at % 2 else manager).post("/actions", json={**ACTION, "key": f"k{at}"}),
                201,
            )
        )["id"]
        for at in range(7)
    ]
    found, cursor = [], "0"
    while cursor:
        page = await ok(acme.get(f"/actions?limit=3&cursor={cursor}"))
        assert len(page["items"]) <= 3
        found += [item["id"] for item in page["items"]]
        cursor = page.get("cursor")
    assert found == made
    page = await ok(acme.get("/actions?limit=3"))
    await refused(manager.get(f"/actions?cursor={page['cursor']}"), 400)
    await refused(acme.get(f"/connectors?cursor={page['cursor']}"), 400)
    await refused(acme.get(f"/actions?cursor={page['cursor'][:-2]}"), 400)
    assert len((await ok(manager.get("/actions")))["items"]) == 4


async def test_a_nearer_definition_stands_in_place_of_a_farther_one(manager, acme):
    """A tenant's whole definition of a key hides the workspace's from that tenant's list."""
    theirs = await ok(manager.post("/actions", json=ACTION), 201)
    mine = await ok(acme.post("/actions", json={**ACTION, "description": "Mine"}), 201)
    assert (await ok(acme.get("/actions/say-hello")))["description"] == "Mine"
    items = (await ok(acme.get("/actions")))["items"]
    assert [item["id"] for item in items] == [mine["id"]]
    items = (await ok(manager.get("/actions")))["items"]
    assert [item["id"] for item in items] == [theirs["id"]]


async def test_a_lower_change_can_break_what_lies_above(manager, acme):
    """A merged element that is no longer valid is shown with its errors."""
    await ok(manager.post("/actions", json=ACTION), 201)
    await ok(acme.patch("/actions/say-hello", json={"config": {"function": "mine"}}))
    request = {"request": {"uri": "https://app.example"}}
    await ok(manager.put("/actions/say-hello", json={"type": "http-request", "config": request}))
    mine = await ok(acme.get("/actions/say-hello"))
    assert mine["state"] == "CONFIGURATION_ERROR"
    assert mine["errors"][0]["path"] == "/config/function"
    (item,) = (await ok(acme.get("/actions")))["items"]
    assert item["state"] == "CONFIGURATION_ERROR"
