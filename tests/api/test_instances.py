"""Instances: a tenant's own row of an element at one of its connections, made on first use."""

from __future__ import annotations

import asyncio

import pytest

from tests.samples import add_element, crm_workspace

FLOW = {
    "name": "Sync",
    "nodes": {
        "start": {"type": "api-trigger", "links": [{"key": "shape"}]},
        "shape": {"type": "transform-data", "config": {"output": {"from": "workspace"}}},
    },
}
SOURCE = {"name": "Deals", "collectionKey": "deals"}


async def _connected(caller, name, key=None):
    body = {"integrationKey": "crm", "credentials": {"apiKey": f"crm-{name}-key"}, "key": key}
    made = await caller.post("/connections", json=body)
    assert made.status_code == 201, made.text
    return made.json()["id"]


@pytest.fixture
async def shop(platform, workspace, worker, crm, acme, globex):
    """A workspace with elements of several kinds; acme and globex are connected."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "flow", "sync", FLOW)
    await add_element(platform, workspace.id, "data-source", "deals", SOURCE)
    await add_element(platform, workspace.id, "data-link-table", "links", {"name": "Links"})
    schema = {"name": "Deal", "schema": {"type": "object"}}
    await add_element(platform, workspace.id, "app-data-schema", "deal", schema)
    return {"acme": await _connected(acme, "acme"), "globex": await _connected(globex, "globex")}


async def _good(answer):
    response = await answer
    assert response.status_code < 300, response.text
    return response.json()


async def _refused(answer, status):
    response = await answer
    assert response.status_code == status, response.text
    return response.json()


async def test_an_instance_is_made_on_first_use_and_only_then(acme, shop):
    """Looking at an element from a connection begins its instance, once; a list begins none."""
    where = f"connectionId={shop['acme']}"
    await _good(acme.get(f"/flows?{where}"))
    assert (await _good(acme.get("/flow-instances")))["items"] == []
    await _refused(acme.get(f"/flow-instance?flowKey=sync&{where}&autoCreate=false"), 404)

    first = await _good(acme.get(f"/flow-instance?flowKey=sync&{where}"))
    flow = await _good(acme.get("/flows/sync"))
    assert first["id"] != flow["id"]
    assert first["flowId"] == first["parentId"] == first["universalFlowId"] == flow["id"]
    assert (first["connectionId"], first["isCustomized"]) == (shop["acme"], False)
    assert first["nodes"] == flow["nodes"]

    for again in (
        f"/flow-instance?flowKey=sync&{where}",
        f"/connections/{shop['acme']}/flows/sync",
        f"/flow?key=sync&{where}",
        f"/flow-instance?id={first['id']}",
        f"/flow-instances/{first['id']}",
        "/flow-instance?flowKey=sync",  # the only connection there is
        f"/flow-instance?parentId={flow['id']}",
    ):
        assert (await _good(acme.get(again)))["id"] == first["id"], again
    items = (await _good(acme.get("/flow-instances")))["items"]
    assert [each["id"] for each in items] == [first["id"]]


async def test_many_who_look_at_once_begin_one_instance(acme, shop):
    """Whoever comes first makes it, and the others find it."""
    path = f"/flow-instance?flowKey=sync&connectionId={shop['acme']}"
    seen = await asyncio.gather(*(_good(acme.get(path)) for _ in range(8)))
    assert len({each["id"] for each in seen}) == 1


async def test_an_instance_goes_with_its_connection(acme, shop):
    """Of an archived connection it is not listed or found; restored, it is there as it was."""
    path = f"/flow-instance?flowKey=sync&connectionId={shop['acme']}"
    made = await _good(acme.patch(path, json={"name": "Ours"}))
    await _good(acme.delete(f"/connections/{shop['acme']}"))
    assert (await _good(acme.get("/flow-instances")))["items"] == []
    await _refused(acme.get(f"/flow-instance?id={made['id']}"), 404)
    await _refused(acme.post("/flow-runs", json={"flowInstanceId": made["id"]}), 404)
    await _good(acme.post(f"/connections/{shop['acme']}/restore"))
    assert (await _good(acme.get(f"/flow-instance?id={made['id']}")))["name"] == "Ours"


async def test_an_instance_follows_its_parent_until_it_differs(acme, manager, shop):
    """What the workspace changes reaches instances, but for what they changed themselves."""
    query = f"flowKey=sync&connectionId={shop['acme']}"
    made = await _good(acme.post(f"/flow-instance?{query}", json={"name": "Ours"}))
    assert (made["name"], made["isCustomized"]) == ("Ours", True)
    await _refused(acme.post(f"/flow-instance?{query}", json={}), 409)

    shape = {"nodes": {"shape": {"config": {"output": {"from": "new"}}}}}
    await _good(manager.patch("/flows/sync", json={"name": "Theirs", **shape}))
    seen = await _good(acme.post(f"/flow-instances/{made['id']}/update-to-latest-flow"))
    assert seen["name"] == "Ours"
    assert seen["nodes"]["shape"]["config"]["output"] == {"from": "new"}

    reset = await _good(acme.post(f"/flow-instances/{made['id']}/reset"))
    assert (reset["id"], reset["name"], reset["isCustomized"]) == (made["id"], "Theirs", False)


async def test_parts_of_a_flow_are_reset(acme, shop):
    """Reset takes back the name, or some nodes, and leaves the rest."""
    query = f"flowKey=sync&connectionId={shop['acme']}"
    added = {
        "start": {"links": [{"key": "shape"}, {"key": "late"}]},
        "late": {"type": "transform-data", "config": {"output": 1}},
    }
    changed = {"name": "Ours", "nodes": {"shape": {"name": "Mine"}, **added}}
    made = await _good(acme.patch(f"/flow-instance?{query}", json=changed))
    reset = f"/flow-instances/{made['id']}/reset"

    left = await _good(acme.post(reset, json={"nodes": {"shape": True}}))
    assert (left["name"], "name" in left["nodes"]["shape"]) == ("Ours", False)
    assert "late" in left["nodes"]
    left = await _good(acme.post(reset, json={"name": True}))
    assert (left["name"], "late" in left["nodes"]) == ("Sync", True)
    left = await _good(acme.post(reset, json={"allNodes": True}))
    assert (sorted(left["nodes"]), left["isCustomized"]) == (["shape", "start"], False)
    await _refused(acme.post(reset, json={"node": True}), 400)


async def test_a_connection_has_several_instances_that_know_nothing_of_each_other(acme, shop):
    """Each instanceKey is an instance by itself; one without is the first one."""
    query = f"flowKey=sync&connectionId={shop['acme']}"
    first = await _good(acme.patch(f"/flow-instance?{query}", json={"name": "First"}))
    a = await _good(acme.patch(f"/flow-instance?{query}&instanceKey=a", json={"name": "A"}))
    b = await _good(
        acme.post("/flow-instances", json={"flowKey": "sync", "instanceKey": "b", "name": "B"})
    )
    assert len({first["id"], a["id"], b["id"]}) == 3
    names = {
        key: (await _good(acme.get(f"/flow-instance?{query}{more}")))["name"]
        for key, more in (("first", ""), ("a", "&instanceKey=a"), ("c", "&instanceKey=c"))
    }
    assert names == {"first": "First", "a": "A", "c": "Sync"}
    assert (await _good(acme.get(f"/flow-instances/{b['id']}")))["instanceKey"] == "b"
    found = await _good(acme.get("/flow-instances?instanceKey=a"))
    assert [each["id"] for each in found["items"]] == [a["id"]]
    path = f"/connections/{shop['acme']}/flows/sync?instanceKey=b"
    assert (await _good(acme.get(path)))["id"] == b["id"]


async def test_runs_of_an_instance_run_what_it_is_over_its_connection(acme, shop):
    """A flow run by its instance's id takes that instance's nodes and connection."""
    query = f"flowKey=sync&connectionId={shop['acme']}&instanceKey=a"
    shape = {"nodes": {"shape": {"config": {"output": {"from": "a"}}}}}
    made = await _good(acme.patch(f"/flow-instance?{query}", json=shape))
    run = await _good(acme.post("/flow-runs", json={"flowInstanceId": made["id"]}))
    assert run["connectionId"] == shop["acme"]
    assert run["flowInstanceId"] == run["connectionFlowId"] == made["id"]
    output = await _output(acme, run["id"])
    assert output == {"from": "a"}
    again = await _good(acme.post(f"/flow-runs/{run['id']}/repeat"))
    assert again["flowInstanceId"] == made["id"]

    plain = await _good(acme.post(f"/connections/{shop['acme']}/flows/sync/run", json={}))
    assert await _output(acme, plain["id"]) == {"from": "workspace"}
    named = f"/connections/{shop['acme']}/flows/sync/run?instanceKey=a"
    assert await _output(acme, (await _good(acme.post(named)))["id"]) == {"from": "a"}
    listed = await _good(acme.get(f"/flow-runs?connectionFlowId={made['id']}"))
    assert run["id"] in {each["id"] for each in listed["items"]}


async def _output(caller, run_id):
    while (run := await _good(caller.get(f"/flow-runs/{run_id}")))["state"] in (
        "queued",
        "running",
    ):
        pass
    assert run["state"] == "completed", run
    return (await _good(caller.get(f"/flow-runs/{run_id}/output")))["output"]


async def test_actions_run_as_their_instance(acme, shop):
    """An action's instance runs with what it differs in; the neighbour instance without."""
    query = f"parentKey=list-deals&connectionId={shop['acme']}&instanceKey=one"
    await _good(acme.patch(f"/action-instance?{query}", json={"outputMapping": {"mine": True}}))
    ran = await _good(acme.post(f"/action-instance/run?{query}", json={"limit": 1}))
    assert ran["output"]["mine"] is True
    path = f"/connections/{shop['acme']}/actions/list-deals/run"
    assert (await _good(acme.post(f"{path}?instanceKey=one", json={})))["output"]["mine"] is True
    assert "mine" not in (await _good(acme.post(path, json={"limit": 1})))["output"]


async def test_an_instance_is_archived_and_restored(acme, shop):
    """Archived, its parent is in force again, and its id is not run; restored, it is as it was."""
    query = f"flowKey=sync&connectionId={shop['acme']}"
    made = await _good(acme.patch(f"/flow-instance?{query}", json={"name": "Ours"}))
    await _good(acme.delete(f"/flow-instance?{query}"))
    await _refused(acme.post("/flow-runs", json={"flowInstanceId": made["id"]}), 404)
    await _refused(acme.delete(f"/flow-instance?{query}"), 404)
    listed = await _good(acme.get("/flow-instances?includeArchived=true"))
    assert [each["id"] for each in listed["items"]] == [made["id"]]
    # Looked at meanwhile, another one begins; as it is plain, it is no obstacle.
    other = await _good(acme.get(f"/flow-instance?{query}"))
    assert (other["id"] != made["id"], other["name"]) == (True, "Sync")

    back = await _good(acme.post(f"/flow-instance/restore?id={made['id']}"))
    assert (back["id"], back["name"]) == (made["id"], "Ours")
    seen = await _good(acme.get(f"/flow-instance?{query}"))
    assert (seen["id"], seen["name"]) == (made["id"], "Ours")


async def test_instances_belong_to_their_tenant(acme, globex, manager, shop):
    """A neighbour finds nothing; a manager sees them all, and writes none."""
    mine = await _good(acme.get(f"/flow-instance?flowKey=sync&connectionId={shop['acme']}"))
    other = await _good(globex.get("/flow-instance?flowKey=sync&autoCreate=true"))
    assert other["id"] != mine["id"]
    for ask in (
        globex.get(f"/flow-instance?id={mine['id']}"),
        globex.get(f"/flow-instance?flowKey=sync&connectionId={shop['acme']}"),
        globex.patch(f"/flow-instances/{mine['id']}", json={"name": "x"}),
        globex.delete(f"/flow-instances/{mine['id']}"),
    ):
        await _refused(ask, 404)
    found = await _good(manager.get("/flow-instances"))
    assert {each["id"] for each in found["items"]} == {mine["id"], other["id"]}
    page = await _good(manager.get("/flow-instances?limit=1&cursor=0"))
    rest = await _good(manager.get("/flow-instances", params={"cursor": page["cursor"]}))
    assert [each["id"] for each in page["items"] + rest["items"]] == [mine["id"], other["id"]]
    only = await _good(manager.get(f"/flow-instances?userId={mine['tenantId']}"))
    assert [each["id"] for each in only["items"]] == [mine["id"]]
    assert (await _good(manager.get(f"/flow-instances/{mine['id']}")))["id"] == mine["id"]
    await _refused(manager.patch(f"/flow-instances/{mine['id']}", json={"name": "x"}), 403)


async def test_an_instance_that_is_only_begun_adapts_nothing(acme, manager, shop):
    """Who has looked at an element still follows the workspace's."""
    await _good(acme.get(f"/flow-instance?flowKey=sync&connectionId={shop['acme']}"))
    impact = await _good(manager.post("/flows/sync/impact", json={"patch": {"name": "New"}}))
    assert impact["tenants"] == {"following": 2, "customised": 0}
    assert impact["items"] == []

    query = f"flowKey=sync&connectionId={shop['acme']}&instanceKey=one"
    await _good(acme.patch(f"/flow-instance?{query}", json={"name": "Ours"}))
    impact = await _good(manager.post("/flows/sync/impact", json={"patch": {"name": "New"}}))
    assert impact["tenants"] == {"following": 1, "customised": 1}
    # As the tenant has it, its first instance, and the one that keeps a name of its own.
    told = [(item["connectionIds"], item["changes"]) for item in impact["items"]]
    assert told == [([], ["/name"]), ([shop["acme"]], ["/name"]), ([shop["acme"]], [])]
    assert impact["items"][2]["shielded"] == ["/name"]


async def test_schemas_and_link_tables_have_instances_of_their_own_kind(acme, globex, shop):
    """A schema's instance is the tenant's; a link table's keeps its own links."""
    created = await _good(
        acme.get("/app-data-schema-instance?appDataSchemaKey=deal&autoCreate=true")
    )
    assert (created["connectionId"], created["isCustomized"]) == (None, False)
    schema = {"schema": {"properties": {"mine": {"type": "string"}}}}
    patched = await _good(acme.patch(f"/app-data-schema-instances/{created['id']}", json=schema))
    assert patched["schema"]["properties"] == {"mine": {"type": "string"}}
    assert (await _good(globex.get("/app-data-schemas/deal")))["schema"] == {"type": "object"}
    await _refused(acme.post("/app-data-schemas", json={"key": "x", "schema": {}}), 403)

    table = f"/data-link-table-instance?dataLinkTableKey=links&connectionId={shop['acme']}"
    first = await _good(acme.get(table))
    second = await _good(acme.get(f"{table}&instanceKey=two"))
    link = {"appRecordId": "1", "externalRecordId": "2"}
    links = table.replace("instance?", "instance/links?")
    made = await _good(acme.post(links, json=link))
    assert made["dataLinkTableInstanceId"] == first["id"]
    made = await _good(acme.post(f"{links}&instanceKey=two", json=link))
    assert made["dataLinkTableInstanceId"] == second["id"]
    await _good(acme.request("DELETE", links, json=link))
    assert (await _good(acme.get(links)))["items"] == []
    by_id = f"/data-link-table-instance/links?id={second['id']}"
    assert len((await _good(acme.get(by_id)))["items"]) == 1


async def test_what_is_not_an_instance_is_said_to_be_none(acme, manager, shop):
    """Each wrong request is told what is wrong with it."""
    body = await _refused(acme.get("/flow-instance"), 400)
    assert "flowKey" in body["message"]
    await _refused(acme.get("/flow-instance?flowKey=none&autoCreate=true"), 404)
    await _refused(acme.get(f"/flow-instance?flowKey=sync&instanceKey={'x' * 201}"), 400)
    await _refused(manager.get("/flow-instance?flowKey=sync"), 400)
    await _refused(manager.get(f"/flow-instance?flowKey=sync&connectionId={shop['acme']}"), 404)
    await _connected(acme, "acme", "second")
    body = await _refused(acme.get("/flow-instance?flowKey=sync&autoCreate=true"), 400)
    assert len(body["data"]["choices"]) == 2
