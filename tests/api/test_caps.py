"""Caps over HTTP: who writes them, where they stand, and who reads them."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from runtime.caps.names import cap_name
from tests.api import seeds
from tests.api.asking import ok, refused
from tests.samples import add_element, add_function


def each_tenant(**more):
    """Return the body of a cap on the runs of each tenant that are under way."""
    return {"scope": "tenant", "amount": 10, **more}


async def listed(client, **params):
    """Return the ids of the caps that a client is shown."""
    return {item["id"] for item in (await ok(client.get("/caps", params=params)))["items"]}


async def test_a_cap_is_made_read_changed_and_deleted(platform, workspace, manager):
    """The whole life of a cap; each step that changes something is on record."""
    made = await ok(manager.post("/caps", json=each_tenant()), 201)
    assert (made["state"], made["scope"], made["amount"]) == ("running", "tenant", 10)
    path = f"/caps/{made['id']}"
    assert await ok(manager.get(path)) == made
    assert (await ok(manager.patch(path, json={"amount": 0})))["amount"] == 0
    uncapped = await ok(manager.patch(path, json={**made, "amount": None}))
    assert uncapped["amount"] is None
    assert uncapped["updatedAt"] > made["updatedAt"]
    assert await ok(manager.patch(path, json={"amount": None})) == uncapped
    assert await ok(manager.delete(path)) == uncapped
    assert await listed(manager) == set()
    await refused(manager.get(path), 404, "not_found")
    await refused(manager.delete(path), 404, "not_found")
    trail = await platform.rows(
        "SELECT tag, target_kind, target_id::text, changes FROM audit_records"
        " WHERE workspace_id = %s ORDER BY id",
        workspace.id,
    )
    assert [(row["tag"], row["changes"]["amount"]) for row in trail] == [
        ("cap:created", 10),
        ("cap:changed", 0),
        ("cap:changed", None),
        ("cap:deleted", None),
    ]
    assert {(row["target_kind"], row["target_id"]) for row in trail} == {("cap", made["id"])}


async def test_put_makes_a_cap_or_changes_the_one_that_is_there(platform, workspace, manager, acme):
    """Putting the same twice is putting it once, also at the same moment."""
    await seeds.tenant_id(acme)
    body = each_tenant(tenantKey="acme")
    answers = await asyncio.gather(*(ok(manager.put("/caps", json=body)) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    changed = await ok(manager.put("/caps", json={**body, "amount": 3}))
    assert (changed["id"], changed["amount"]) == (answers[0]["id"], 3)
    default = await ok(manager.put("/caps", json=each_tenant()))
    assert await listed(manager) == {changed["id"], default["id"]}
    trail = await platform.rows(
        "SELECT tag FROM audit_records WHERE workspace_id = %s ORDER BY id", workspace.id
    )
    assert [row["tag"] for row in trail] == ["cap:created", "cap:changed", "cap:created"]


async def test_one_cap_a_place(manager, acme):
    """A second cap at a place is refused; another state or subject is another place."""
    await seeds.tenant_id(acme)
    await ok(manager.post("/caps", json=each_tenant()), 201)
    await refused(manager.post("/caps", json=each_tenant(amount=5)), 409, "already_exists")
    await ok(manager.post("/caps", json=each_tenant(state="queued")), 201)
    await ok(manager.post("/caps", json=each_tenant(tenantKey="acme")), 201)
    await refused(manager.post("/caps", json=each_tenant(tenantKey="acme")), 409)
    await ok(manager.post("/caps", json=each_tenant(scope="workspace")), 201)
    await refused(manager.post("/caps", json=each_tenant(scope="workspace")), 409)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"scope": "planet"}, "/scope"),
        ({"state": "asleep"}, "/state"),
        ({"amount": -1}, "/amount"),
        ({"amount": 1.5}, "/amount"),
        ({"amount": "10"}, "/amount"),
        ({"amount": True}, "/amount"),
        ({"amount": 2**31}, "/amount"),
        ({"colour": "red"}, "/colour"),
        ({"connectionKey": "main"}, "/"),
        ({"scope": "workspace", "tenantKey": "acme"}, "/"),
        ({"scope": "workspace", "state": "queued"}, "/"),
        ({"scope": "connection", "state": "queued"}, "/"),
        ({"scope": "connection", "tenantKey": "acme"}, "/"),
        ({"scope": "element", "integrationKey": "crm"}, "/"),
    ],
)
async def test_a_bad_cap_is_refused_by_path(manager, change, path):
    """What is wrong with a cap is named where it is wrong."""
    for method in ("POST", "PUT"):
        error = await refused(manager.request(method, "/caps", json=each_tenant(**change)), 400)
        assert error["data"]["errors"][0]["path"].startswith(path)


async def test_a_cap_says_how_many(manager):
    """Leaving the amount out is not the same as uncapped."""
    error = await refused(manager.post("/caps", json={"scope": "tenant"}), 400)
    assert error["data"]["errors"][0]["path"] == "/amount"
    made = await ok(manager.post("/caps", json=each_tenant()), 201)
    error = await refused(manager.patch(f"/caps/{made['id']}", json={}), 400)
    assert error["data"]["errors"][0]["path"] == "/amount"


@pytest.mark.parametrize(
    "change", [{"state": "queued"}, {"scope": "workspace"}, {"tenantKey": "acme"}]
)
async def test_a_cap_stays_where_it_stands(manager, change):
    """Only the amount changes."""
    made = await ok(manager.post("/caps", json=each_tenant()), 201)
    error = await refused(manager.patch(f"/caps/{made['id']}", json={"amount": 1, **change}), 400)
    assert error["data"]["errors"][0]["path"] == f"/{next(iter(change))}"
    assert (await ok(manager.get(f"/caps/{made['id']}")))["amount"] == 10


async def test_subjects_are_named_by_key_or_id(platform, workspace, manager, acme):
    """A connection or an action; what is one tenant's makes the cap its own."""
    tenant = await seeds.tenant_id(acme)
    crm = await seeds.integration(platform, workspace)
    link = await seeds.connection(platform, workspace, tenant, integration_id=crm, key="main")
    shared = await add_function(platform, workspace.id, "echo")
    spec = {"type": "run-python", "config": {"function": "echo"}}
    own = await add_element(
        platform, workspace.id, "action", "mine", spec, layer="tenant", tenant_id=tenant
    )
    for scope, named, subject, key in (
        ("connection", {"connectionKey": "main"}, link, "acme"),
        ("element", {"actionKey": "echo"}, shared, None),
        ("element", {"actionKey": "mine", "tenantKey": "acme"}, own, "acme"),
    ):
        made = await ok(manager.post("/caps", json=each_tenant(scope=scope, **named)), 201)
        assert (made[f"{scope}Id"], made.get("tenantKey")) == (str(subject), key)
        by_id = {f"{scope}Id": str(subject)}
        same = await ok(manager.put("/caps", json=each_tenant(scope=scope, **by_id)))
        assert same == made
        assert await listed(manager, **by_id) == {made["id"]}
        for unknown in ("nope", str(uuid.uuid4())):
            await refused(
                manager.post("/caps", json=each_tenant(scope=scope, **{f"{scope}Id": unknown})), 404
            )
    await refused(manager.post("/caps", json=each_tenant(tenantKey="nobody")), 404)
    await refused(manager.get("/caps", params={"connectionId": "main"}), 400)
    error = await refused(
        manager.post(
            "/caps", json=each_tenant(scope="element", actionKey="echo", tenantKey="acme")
        ),
        400,
    )
    assert error["data"]["path"] == "/tenantKey"


async def test_an_element_of_the_catalogue_has_a_cap_in_each_workspace(
    universe, manager, crm_integration, make_workspace
):
    """What many workspaces run may be capped by each of them, under a name of its own."""
    (action, *_) = (await ok(manager.get("/actions", params={"integrationKey": "crm"})))["items"]
    stranger = await (await make_workspace()).manager()
    body = each_tenant(scope="element", elementId=action["id"])
    ours = await ok(manager.post("/caps", json=body), 201)
    theirs = await ok(stranger.post("/caps", json=body), 201)
    assert ours["elementId"] == theirs["elementId"] == action["id"]
    first, second = (cap_name(uuid.uuid4(), "element", None, action["id"]) for _ in range(2))
    assert first != second


async def test_tenants_read_the_caps_that_bind_them(manager, acme, globex, make_workspace):
    """The workspace's and its own, less the default that its own stands in for; it writes none."""
    await seeds.tenant_id(acme)
    await seeds.tenant_id(globex)
    shared = await ok(manager.put("/caps", json=each_tenant(scope="workspace")))
    each = await ok(manager.put("/caps", json=each_tenant()))
    waiting = await ok(manager.put("/caps", json=each_tenant(state="queued")))
    own = await ok(manager.put("/caps", json=each_tenant(tenantKey="acme", amount=3)))

    assert await listed(acme) == {shared["id"], waiting["id"], own["id"]}
    assert await listed(globex) == {shared["id"], each["id"], waiting["id"]}
    assert await listed(manager) == {shared["id"], each["id"], waiting["id"], own["id"]}
    assert await listed(manager, tenantKey="acme") == {own["id"]}
    assert await listed(manager, scope="workspace") == {shared["id"]}
    assert await listed(manager, state="queued") == {waiting["id"]}
    assert await listed(manager, state="x") == set()
    await refused(globex.get(f"/caps/{own['id']}"), 404, "not_found")
    await refused(globex.get("/caps", params={"tenantKey": "acme"}), 404, "not_found")
    assert (await ok(acme.get(f"/caps/{own['id']}")))["amount"] == 3
    for method, path in (
        ("POST", "/caps"),
        ("PUT", "/caps"),
        ("PATCH", f"/caps/{own['id']}"),
        ("DELETE", f"/caps/{own['id']}"),
    ):
        await refused(acme.request(method, path, json=each_tenant()), 403, "access_denied")
    stranger = await (await make_workspace()).manager()
    assert await listed(stranger) == set()
    for method in ("GET", "PATCH", "DELETE"):
        await refused(stranger.request(method, f"/caps/{each['id']}", json={"amount": 1}), 404)
    await refused(manager.get("/caps/x"), 404)


async def test_lists_of_caps_page(manager):
    """Pages join without a gap."""
    made = [
        (await ok(manager.post("/caps", json=each_tenant(scope=scope)), 201))["id"]
        for scope in ("workspace", "tenant", "connection", "element")
    ]
    found, cursor = [], "0"
    while cursor:
        page = await ok(manager.get("/caps", params={"limit": 3, "cursor": cursor}))
        found += [item["id"] for item in page["items"]]
        cursor = page.get("cursor")
    assert found == made
