"""Flow runs are listed by what they are about, and shown as the published client expects."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.api.asking import ok
from tests.flows.test_running import START, step
from tests.samples import crm_workspace


async def _ids(client, query: str) -> set[str]:
    answer = await client.get(f"/flow-runs?limit=1000&{query}")
    assert answer.status_code == 200, answer.text
    return {item["id"] for item in answer.json()["items"]}


async def test_filters(flows, platform, workspace, acme, globex, crm):
    """A list is narrowed by flow, state, moments, connection, app and, for managers, tenant."""
    await crm_workspace(platform, workspace, crm)
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    connection = (await ok(acme.post("/connections", json=body), 201))["id"]
    key = await flows.make({"start": START, "a": step(1)})
    first = await flows.start(key)
    over = await flows.start(key, connectionId=connection)
    theirs = (await ok(globex.post(f"/flows/{key}/run", json={})))["id"]
    for run in (first, over):
        await flows.ended(run)
    shown = await flows.get(over)
    made = datetime.fromisoformat(shown["createdAt"])
    before, after = (
        (made + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        for seconds in (-3600, 3600)
    )
    mine, manager = flows.tenant, flows.manager
    assert await _ids(mine, f"flowKey={key}") == {first, over}
    assert await _ids(mine, f"flowKey={key}&connectionId={connection}") == {over}
    assert await _ids(mine, f"flowKey={key}&externalAppId=crm") == {over}
    assert await _ids(mine, f"flowKey={key}&externalAppId=other") == set()
    assert await _ids(mine, f"flowKey={key}&state=failed") == set()
    assert await _ids(mine, f"flowKey={key}&from={before}&to={after}") == {first, over}
    assert await _ids(mine, f"flowKey={key}&from={after}") == set()
    assert await _ids(mine, f"flowKey={key}&to={before}") == set()
    assert await _ids(mine, f"flowId={shown['flowId']}&universalFlowId={shown['flowId']}") == {
        first,
        over,
    }
    assert await _ids(manager, f"flowKey={key}") == {first, over, theirs}
    assert await _ids(manager, f"flowKey={key}&tenantKey=globex") == {theirs}
    assert await _ids(mine, "tenantKey=globex") == set()
    assert (await mine.get("/flow-runs?from=yesterday")).status_code == 400


async def test_a_run_counts_its_nodes(flows):
    """A run says of each node its state, its runs, how many failed, and its outputs."""
    failing = {"type": "run-python", "config": {"function": "fail"}, "onError": "continue"}
    nodes = {
        "start": {"type": "api-trigger", "links": [{"key": "a"}, {"key": "b"}]},
        "a": step(1),
        "b": {**failing, "links": [{"key": "c"}]},
        "c": step("not reached"),
    }
    ended = await flows.ended(await flows.start(nodes))
    counted = {
        key: (node.get("state"), node["runs"], node["erroredRuns"], node["outputs"])
        for key, node in ended["nodes"].items()
    }
    assert counted == {
        "start": ("completed", 1, 0, 1),
        "a": ("completed", 1, 0, 1),
        "b": ("failed", 1, 1, 1),
        "c": (None, 0, 0, 0),
    }


async def test_node_runs_know_their_neighbours(flows):
    """A node run says where its input came from, and where its output went."""
    run = await flows.start({"start": START, "a": step({"n": 1}, "b"), "b": step(2)}, 5)
    await flows.ended(run)
    (before,), (ran,), (after,) = [await flows.runs(run, key) for key in ("start", "a", "b")]
    (output,) = ran["outputs"]
    assert ran["upstreamRuns"] == [
        {"nodeKey": "start", "runId": before["id"], "outputId": f"{before['id']}.0"}
    ]
    assert output["downstreamRuns"] == [{"nodeKey": "b", "runId": after["id"]}]
    assert (before["upstreamRuns"], after["outputs"][0]["downstreamRuns"]) == ([], [])


async def test_many_are_counted_before_they_run_again(flows, globex):
    """A dry run says how many fit; then so many are started, by tenant and by moment."""
    key = await flows.make(
        {"start": START, "a": {"type": "run-python", "config": {"function": "fail"}}}
    )
    mine = [await flows.start(key) for _ in range(3)]
    theirs = (await ok(globex.post(f"/flows/{key}/run", json={})))["id"]
    for run in mine:
        await flows.ended(run, "failed")
    flows.tenant, acme = globex, flows.tenant
    await flows.ended(theirs, "failed")
    flows.tenant = acme

    async def repeat(client=flows.manager, **body):
        return await ok(client.post("/flow-runs/repeat", json={"flowKey": key, **body}))

    dry = await repeat(dryRun=True, limit=2)
    assert (dry["count"], len(dry["items"])) == (4, 2)
    assert not any("flowRunId" in item for item in dry["items"])
    assert (await repeat(dryRun=True, tenantKey="globex"))["items"] == [{"id": theirs}]
    assert (await repeat(dryRun=True, to="2020-01-01T00:00:00Z"))["count"] == 0
    assert (await repeat(acme, dryRun=True, tenantKey="globex"))["count"] == 0
    again = await repeat(tenantKey="globex")
    (item,) = again["items"]
    flows.tenant = globex
    assert (await flows.ended(item["flowRunId"], "failed"))["repeatOf"] == theirs


@pytest.mark.parametrize("body", [{"state": "running"}, {"what": 1}, {"from": "x"}, {"limit": 0}])
async def test_bad_filters_are_refused(flows, body):
    """What cannot be meant is refused with a reason."""
    answer = await flows.manager.post("/flow-runs/repeat", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


async def test_what_followed_an_error_is_not_kept(flows):
    """A resumed run takes up again what went along the link for errors: it may not come to that."""
    caught = {"key": "b", "filter": {"$var": "$.output.error"}}
    failing = {
        "type": "run-python",
        "config": {"function": "fail"},
        "onError": "continue",
        "links": [caught],
    }
    nodes = {
        "start": START,
        "a": {**failing},
        "b": step("caught", "c"),
        "c": {"type": "run-python", "config": {"function": "fail"}},
    }
    run = await flows.start(nodes)
    await flows.ended(run, "failed")
    again = (await ok(flows.tenant.post(f"/flow-runs/{run}/resume")))["id"]
    await flows.ended(again, "failed")
    (before,), (after,) = await flows.runs(run, "b"), await flows.runs(again, "b")
    assert before["endTime"] != after["endTime"]
