"""Layers compared, and what a change would do to each tenant before anybody makes it."""

from __future__ import annotations

import json

import pytest
import uuid_utils.compat

from tests.api.asking import ok, refused
from tests.samples import LIST_DEALS, crm_workspace

ECHO = {"name": "Echo", "type": "run-python", "config": {"function": "echo"}, "timeout": 20}
LIMIT = {"config": {"request": {"query": {"limit": 5}}}}


@pytest.fixture
async def deals(platform, workspace):
    """The sample app, switched on, with list-deals; nothing is called."""
    await crm_workspace(platform, workspace, "http://127.0.0.1:1")
    return "/actions/list-deals"


@pytest.fixture
async def connect(platform, workspace):
    """Makes connections of a tenant to the sample app, without calling it."""

    async def make(tenant, key: str) -> str:
        assert (await tenant.get("/self")).status_code == 200
        (row,) = await platform.rows(
            "INSERT INTO connections"
            " (id, workspace_id, tenant_id, integration_id, key, name, state)"
            " SELECT %s, e.workspace_id, t.id, e.id, %s, %s, 'READY'"
            " FROM elements AS e JOIN tenants AS t ON t.workspace_id = e.workspace_id AND t.id = %s"
            " WHERE e.workspace_id = %s AND e.kind = 'integration' RETURNING id::text",
            uuid_utils.compat.uuid7(),
            key,
            key,
            (await tenant.get("/self")).json()["id"],
            workspace.id,
        )
        return row["id"]

    return make


async def _diff(caller, path: str) -> list[dict]:
    return (await ok(caller.get(path)))["items"]


async def test_the_diff_tells_each_value_and_its_layers(deals, acme, manager):
    """Between workspace and effective stands what the tenant changed, with both layers."""
    await ok(acme.patch(deals, json={**LIMIT, "description": "Ours", "outputMapping": None}))
    items = await _diff(acme, f"{deals}/diff?from=workspace&to=effective")
    assert {item["path"]: item for item in items} == {
        "/config/request/query/limit": {
            "path": "/config/request/query/limit",
            "from": {"$var": "$.input.limit"},
            "fromLayer": "workspace",
            "to": 5,
            "toLayer": "tenant",
        },
        "/description": {"path": "/description", "to": "Ours", "toLayer": "tenant"},
        "/outputMapping/deals": {
            "path": "/outputMapping/deals",
            "from": {"$var": "$.output.data.deals"},
            "fromLayer": "workspace",
        },
    }
    assert await _diff(manager, f"{deals}/diff") == []
    tenant_id = (await ok(acme.get("/self")))["id"]
    assert await _diff(manager, f"{deals}/diff?tenantId={tenant_id}") == items
    assert await _diff(acme, f"{deals}/diff?from=effective&to=connection") == []


async def test_each_pair_of_layers_can_be_compared(deals, acme, manager, connect):
    """Workspace, integration, tenant and connection each stand with what is below them."""
    connection = await connect(acme, "main")
    await ok(manager.patch("/actions/crm.list-deals", json={"timeout": 11}))
    await ok(acme.patch(deals, json={"timeout": 12}))
    await ok(acme.patch(f"/connections/{connection}/actions/list-deals", json={"timeout": 13}))

    async def seen(one: str, other: str) -> tuple:
        path = f"{deals}/diff?connectionId={connection}&from={one}&to={other}"
        (item,) = await _diff(acme, path)
        return item.get("from"), item.get("to"), item.get("fromLayer"), item["toLayer"]

    assert await seen("workspace", "integration") == (None, 11, None, "integration")
    assert await seen("integration", "tenant") == (11, 12, "integration", "tenant")
    assert await seen("tenant", "connection") == (12, 13, "tenant", "connection")
    assert await seen("integration", "effective") == (11, 13, "integration", "connection")
    backwards = await _diff(
        acme, f"{deals}/diff?connectionId={connection}&from=effective&to=tenant"
    )
    assert [(item["from"], item["to"]) for item in backwards] == [(13, 12)]


async def test_a_layer_that_is_none_is_refused(deals, acme):
    """The error says which layers there are."""
    error = await refused(acme.get(f"{deals}/diff?from=cellar"), 400)
    assert error["data"]["errors"] == [{"path": "/from", "message": "is not a layer"}]
    await refused(acme.get("/actions/none/diff"), 404, "not_found")


async def test_the_impact_names_who_changes_who_is_shielded_and_who_breaks(
    platform, workspace, manager, acme, globex
):
    """A change of the workspace's is followed, kept out, or made invalid, tenant by tenant."""
    await ok(manager.post("/actions", json={"key": "echo", **ECHO}), 201)
    initech = await workspace.tenant("initech")
    await ok(initech.get("/self"))
    await ok(acme.patch("/actions/echo", json={"timeout": 5}))
    await ok(globex.patch("/actions/echo", json={"config": {"input": {"a": 1}}}))
    http = {"request": {"uri": "https://example.com"}, "function": None}
    change = {"timeout": 30, "description": "New", "type": "http-request", "config": http}

    told = await ok(manager.post("/actions/echo/impact", json={"patch": change}))

    assert told["layer"] == "workspace"
    paths = ["/type", "/config/function", "/timeout", "/config/request/uri", "/description"]
    assert sorted(item["path"] for item in told["changes"]) == sorted(paths)
    assert told["tenants"] == {"following": 1, "customised": 2}
    (shared,) = told["shared"]
    assert (shared["tenants"], shared["outcome"]) == (1, "changed")
    assert sorted(shared["changes"]) == sorted(paths)
    by_tenant = {item["tenantKey"]: item for item in told["items"]}
    assert by_tenant["acme"]["outcome"] == "changed"
    assert by_tenant["acme"]["shielded"] == ["/timeout"]
    assert "/timeout" not in by_tenant["acme"]["changes"]
    assert by_tenant["globex"]["outcome"] == "invalid"
    assert [(fault["path"], fault["layer"]) for fault in by_tenant["globex"]["errors"]] == [
        ("/config/input", "tenant")
    ]

    stored = await ok(manager.get("/actions/echo"))
    assert (stored["timeout"], stored["revision"]) == (20, stored["revision"])
    assert "description" not in stored
    audited = await platform.rows(
        "SELECT tag FROM audit_records WHERE workspace_id = %s AND actor = 'manager'",
        workspace.id,
    )
    assert [row["tag"] for row in audited] == ["element:created"]


async def test_the_impact_is_what_then_happens(deals, manager, acme, globex, connect):
    """What was foretold of each tenant is what differs for it once the change is made."""
    connection = await connect(acme, "main")
    await ok(acme.patch(f"/connections/{connection}/actions/list-deals", json={"timeout": 9}))
    await ok(globex.patch(deals, json={"name": "Ours"}))
    views = [(acme, deals), (acme, f"{deals}?connectionId={connection}"), (globex, deals)]

    def values(record: dict) -> dict:
        return {name: record.get(name) for name in ("name", "timeout", "description")}

    before = [values(await ok(caller.get(path))) for caller, path in views]
    change = {"name": "Deals", "timeout": 40, "description": "All of them"}
    told = await ok(manager.post(f"{deals}/impact", json={"patch": change}))
    await ok(manager.patch(deals, json=change))
    after = [values(await ok(caller.get(path))) for caller, path in views]

    changed = [
        sorted(f"/{name}" for name in old if old[name] != new[name])
        for old, new in zip(before, after, strict=True)
    ]
    foretold = [
        sorted(item["changes"])
        for _, item in sorted(
            ((item["tenantKey"], bool(item["connectionIds"])), item) for item in told["items"]
        )
    ]
    assert foretold == changed
    (own,) = [item for item in told["items"] if item["connectionIds"]]
    assert (own["connectionIds"], own["connections"]) == ([connection], 1)
    assert own["shielded"] == ["/timeout"]


async def test_tenants_without_rows_of_their_own_share_one_answer(
    platform, workspace, manager, acme, deals
):
    """A thousand tenants cost no more comparisons than one; only those who adapted are listed."""
    await ok(acme.patch(deals, json=LIMIT))
    await platform.rows(
        "INSERT INTO tenants (id, workspace_id, key, name)"
        " SELECT gen_random_uuid(), %s, 'many-' || n, 'Many' FROM generate_series(1, 1000) AS n"
        " RETURNING id",
        workspace.id,
    )
    told = await ok(manager.post(f"{deals}/impact", json={"patch": {"timeout": 7}}))
    assert [(each["tenants"], each["changes"]) for each in told["shared"]] == [(1000, ["/timeout"])]
    assert [item["tenantKey"] for item in told["items"]] == ["acme"]
    assert told["comparisons"] == 2


async def test_the_impact_is_paged(platform, workspace, manager, deals):
    """Each tenant that adapted the element is on exactly one page."""
    for number in range(5):
        tenant = await workspace.tenant(f"t{number}")
        await ok(tenant.patch(deals, json={"name": f"T{number}"}))
    path, body, found, cursor = f"{deals}/impact?limit=2", {"patch": {"timeout": 7}}, [], "0"
    while cursor is not None:
        page = await ok(manager.post(f"{path}&cursor={cursor}", json=body))
        assert len(page["items"]) <= 2
        found += [item["tenantKey"] for item in page["items"]]
        cursor = page.get("cursor")
    assert sorted(found) == [f"t{number}" for number in range(5)]


async def test_a_whole_element_can_be_asked_about(deals, manager):
    """With `spec` the change is the one that PUT would make."""
    told = await ok(manager.post(f"{deals}/impact", json={"spec": {**LIST_DEALS, "name": "D"}}))
    assert [item["path"] for item in told["changes"]] == ["/name"]
    nothing = await ok(manager.post(f"{deals}/impact", json={"spec": LIST_DEALS}))
    assert (nothing["changes"], nothing["shared"], nothing["items"]) == ([], [], [])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "patch"),
        ({"patch": {}, "spec": {}}, 400, "patch"),
        ({"patch": {"colour": "red"}}, 400, "/colour"),
        ({"patch": {"config": {"request": {"query": {"a": {"$vax": 1}}}}}}, 400, "/config"),
        ({"patch": {"key": "other"}}, 400, "key"),
    ],
)
async def test_a_change_that_is_not_valid_is_refused(deals, manager, body, status, says):
    """What PATCH would refuse, the impact refuses, with the path and the layer of the fault."""
    error = await refused(manager.post(f"{deals}/impact", json=body), status)
    assert says in json.dumps(error)
    if error["type"] == "configuration":
        assert error["data"]["errors"][0]["layer"] == "workspace"


async def test_a_tenant_is_not_told_of_others(deals, acme):
    """The impact is for managers: it names tenants."""
    await refused(acme.post(f"{deals}/impact", json={"patch": {"timeout": 1}}), 403)


async def test_the_workspace_narrows_one_element(deals, manager, acme):
    """Of that element only the named paths may differ; the error names the path and what may."""
    await ok(manager.post("/actions", json={"key": "echo", **ECHO}), 201)
    paths = {
        "action": ["/name", "/config", "/cost"],
        "action.list-deals": ["/config/request/query"],
    }
    await ok(manager.patch("/workspace", json={"settings": {"editablePaths": paths}}))
    await ok(acme.patch(deals, json=LIMIT))
    await ok(acme.patch("/actions/echo", json={"name": "Mine"}))
    for change, path in (
        ({"name": "Mine"}, "/name"),
        ({"config": {"request": {"path": "/api/me"}}}, "/config/request/path"),
        ({"cost": {"units": 0}}, "/cost"),
    ):
        error = await refused(acme.patch(deals, json=change), 403, "access_denied")
        assert error["data"] == {"path": path, "allowed": ["/config/request/query"]}
    error = await refused(acme.patch("/actions/echo", json={"cost": {"units": 0}}), 403)
    assert error["data"] == {"path": "/cost", "allowed": ["/name", "/config"]}
    await refused(acme.post("/actions", json={"key": "list-deals", **ECHO}), 403)
    await ok(manager.patch(deals, json={"name": "Ours"}))


async def test_a_whole_element_is_no_way_around_it(deals, manager, acme):
    """Without a word about its kind, an element that is narrowed cannot be replaced either."""
    paths = {"action.list-deals": []}
    await ok(manager.patch("/workspace", json={"settings": {"editablePaths": paths}}))
    error = await refused(acme.patch(deals, json={"name": "Mine"}), 403)
    assert error["data"] == {"path": "/name", "allowed": []}
    await refused(acme.post("/actions", json={"key": "list-deals", **ECHO}), 403)
    await ok(acme.post("/actions", json={"key": "own", **ECHO}), 201)
    for name in ("action.a.b", "action.../x", "potato.a"):
        body = {"settings": {"editablePaths": {name: []}}}
        await refused(manager.patch("/workspace", json=body), 400)


async def test_a_fault_is_told_with_its_layer(deals, acme, manager):
    """A customisation that breaks the element says at which path, and whose layer says so."""
    await ok(manager.patch(deals, json={"timeout": 30}))
    change = {"config": {"request": {"query": {"limit": {"$vax": 1}}}}, "retry": {"maxAttempts": 0}}
    error = await refused(acme.patch(deals, json=change), 400)
    assert [(each["path"], each["layer"]) for each in error["data"]["errors"]] == [
        ("/retry/maxAttempts", "tenant")
    ]
    error = await refused(acme.patch(deals, json={"type": "http-request"}), 400)
    faults = {each["path"]: each["layer"] for each in error["data"]["errors"]}
    assert faults["/config/request/path"] == "workspace"
