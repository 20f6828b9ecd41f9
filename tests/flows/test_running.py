"""Flows run from node to node, and say where they fail."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.clock import monotonic
from tests.samples import add_function
from tests.waiting import eventually

START: dict[str, Any] = {"type": "api-trigger", "links": [{"key": "a"}]}


def step(output: Any, *following: str, **more: Any) -> dict[str, Any]:
    """Return a node that computes `output`."""
    links = [{"key": key} for key in following]
    return {"type": "transform-data", "config": {"output": output}, "links": links, **more}


async def test_a_chain_passes_outputs_on(flows):
    """Each node sees what the one before it passed on, and those before that by name."""
    nodes = {
        "start": START,
        "a": step({"n": {"$var": "$.input.n"}, "who": {"$var": "$.user.key"}}, "b"),
        "b": step({"before": {"$var": "$.input"}, "first": {"$var": "$.nodes.start.output.n"}}),
    }
    output = await flows.output(nodes, {"n": 7})
    assert output == {"before": {"n": 7, "who": "acme"}, "first": 7}


async def test_links_choose(flows):
    """A link is taken only where its filter holds, so links are branches."""

    def link(key: str, found: int) -> dict[str, Any]:
        return {"key": key, "filter": {"$eval": {"$var": "$.output.n"}, "is": found}}

    nodes = {
        "start": {"type": "api-trigger", "links": [link("a", 1), link("b", 2)]},
        "a": step("one"),
        "b": step("two"),
    }
    key = await flows.make(nodes)
    assert [await flows.output(key, {"n": n}) for n in (1, 2, 3)] == ["one", "two", []]


async def test_a_branch_takes_one_way(flows):
    """Of a branch node's links the first that holds is taken; one without a filter is the rest."""
    big = {"key": "big", "filter": {"$eval": {"$var": "$.output"}, "gt": 10}}
    nodes = {
        "start": START,
        "a": {"type": "branch", "links": [big, {"key": "small"}]},
        "big": step("big"),
        "small": step("small"),
    }
    key = await flows.make(nodes)
    assert [await flows.output(key, n) for n in (50, 5)] == ["big", "small"]


async def test_a_filter_ends_a_branch(flows):
    """What a filter does not let pass goes no further, and the run is well."""
    condition = {"$eval": {"$var": "$.input"}, "is": "yes"}
    nodes = {
        "start": START,
        "a": {"type": "filter", "config": {"filter": condition}, "links": [{"key": "b"}]},
        "b": step("passed"),
    }
    key = await flows.make(nodes)
    assert [await flows.output(key, word) for word in ("yes", "no")] == ["passed", []]


async def test_for_each_gathers_in_order(flows):
    """The body runs once an item; what it comes to is one list, in the order of the items."""
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input.items"}, "rootNodeKey": "body"},
            "links": [{"key": "after"}],
        },
        "body": step([{"$var": "$.item"}, {"$var": "$.index"}]),
        "after": step({"all": {"$var": "$.input"}}),
    }
    output = await flows.output(nodes, {"items": ["x", "y", "z"]})
    assert output == {"all": [["x", 0], ["y", 1], ["z", 2]]}


async def test_nested_for_each(flows):
    """A for-each inside another gathers for its own item."""
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "inner"},
        },
        "inner": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "body"},
        },
        "body": step({"$var": "$.input"}),
    }
    assert await flows.output(nodes, [[1, 2], [], [3]]) == [[1, 2], [], [3]]


async def test_a_large_fan_out(flows):
    """A thousand items run side by side and come back in order."""
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "concurrency": 100,
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "body"},
        },
        "body": step({"$var": "$.input"}),
    }
    items = list(range(1000))
    assert await flows.output(nodes, items) == items


@pytest.mark.parametrize("given", [{"items": 5}, {"items": {"a": 1}}, {}])
async def test_for_each_wants_a_list(flows, given):
    """A for-each over what is not a list fails, and says where."""
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input.items"}, "rootNodeKey": "body"},
        },
        "body": step(1),
    }
    ended = await flows.ended(await flows.start(nodes, given), "failed")
    (error,) = ended["errors"]
    assert error["data"]["nodeKey"] == "a"
    assert error["data"]["cause"]["data"]["path"] == "/nodes/a/config/items"


async def test_an_error_stops_or_goes_on(flows):
    """A node that fails ends the flow, or goes along the links that ask for its error."""
    failing = {"type": "run-python", "config": {"function": "fail"}}
    caught = {"key": "b", "filter": {"$var": "$.output.error"}}
    nodes = {"start": START, "a": {**failing, "links": [caught, {"key": "c"}]}, "b": step("caught")}
    nodes["c"] = step("went well")
    ended = await flows.ended(await flows.start(nodes), "failed")
    assert ended["errors"][0]["data"]["nodeKey"] == "a"
    nodes["a"]["onError"] = "continue"
    assert await flows.output(nodes) == "caught"


async def test_the_input_is_checked(flows):
    """A trigger's schema refuses what does not fit, before there is a run."""
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    key = await flows.make({"start": {"type": "api-trigger", "config": {"inputSchema": schema}}})
    answer = await flows.tenant.post(f"/flows/{key}/run", json={"input": {"n": "x"}})
    assert answer.status_code == 400
    assert answer.json()["data"]["errors"][0]["path"] == "/n"


async def test_several_triggers(flows):
    """A run names the trigger it starts at if there are several."""
    nodes = {
        "one": {"type": "api-trigger", "links": [{"key": "a"}]},
        "two": {"type": "api-trigger", "links": [{"key": "b"}]},
        "a": step("a"),
        "b": step("b"),
    }
    key = await flows.make(nodes)
    refused = await flows.tenant.post(f"/flows/{key}/run", json={})
    assert refused.status_code == 400
    assert "one (api-trigger)" in refused.json()["message"]
    run = await flows.start(key, startNodeKey="two")
    await flows.ended(run)
    assert (await flows.tenant.get(f"/flow-runs/{run}/output")).json() == {"output": "b"}


async def test_the_version_is_pinned(flows, manager):
    """A run goes by the flow as it was when it started, whatever becomes of the flow."""
    wait = {"type": "wait-for-event", "config": {"event": "go"}, "links": [{"key": "b"}]}
    key = await flows.make({"start": START, "a": wait, "b": step("old")})
    run = await flows.start(key)
    await flows.waiting(run, "a")
    changed = await manager.patch(f"/flows/{key}", json={"nodes": {"b": step("new")}})
    assert changed.status_code == 200, changed.text
    await flows.tenant.post(f"/flow-runs/{run}/events", json={"event": "go"})
    await flows.ended(run)
    assert (await flows.tenant.get(f"/flow-runs/{run}/output")).json() == {"output": "old"}


async def test_node_runs_are_on_record(flows):
    """Each node's runs and outputs can be read, also as the published client asks for them."""
    run = await flows.start({"start": START, "a": step({"n": 1})}, 5)
    await flows.ended(run)
    (ran,) = await flows.runs(run, "a")
    assert (ran["status"], ran["input"]) == ("completed", 5)
    assert [output["data"] for output in ran["outputs"]] == [{"n": 1}]
    path = f"/flow-runs/{run}/nodes/a"
    assert (await flows.tenant.get(f"{path}/runs/{ran['id']}")).json() == ran
    listed = (await flows.tenant.get(f"{path}/runs/cursor=0")).json()
    assert listed["items"] == [ran]
    (output,) = (await flows.tenant.get(f"{path}/outputs")).json()["items"]
    assert output["data"] == {"n": 1}
    assert (await flows.tenant.get(f"{path}/output/{output['id']}")).json() == output


async def test_a_flow_runs_actions(flows, manager):
    """A node runs an action by its key, with an input of its own."""
    action = {
        "key": "flow-double",
        "type": "run-python",
        "config": {"function": "echo"},
        "safeToRepeat": True,
    }
    made = await manager.post("/actions", json=action)
    assert made.status_code in (200, 201), made.text
    config = {"action": {"key": "flow-double"}, "input": {"n": {"$var": "$.input"}}}
    nodes = {"start": START, "a": {"type": "run-action", "config": config}}
    run = await flows.start(nodes, 4)
    await flows.ended(run)
    (ran,) = await flows.runs(run, "a")
    assert ran["outputs"]


async def test_flows_run_flows(flows):
    """A flow is a node of another: its output is the node's."""
    inner = await flows.make({"start": START, "a": step({"got": {"$var": "$.input"}})})
    nodes = {
        "start": START,
        "a": {
            "type": "run-flow",
            "config": {"flowKey": inner, "input": 9},
            "links": [{"key": "b"}],
        },
        "b": step({"then": {"$var": "$.input.got"}}),
    }
    assert await flows.output(nodes) == {"then": 9}


async def test_no_endless_flows(flows, manager):
    """A flow that runs itself ends with an error."""
    key = await flows.make({"start": START, "a": step(1)})
    itself = {"type": "run-flow", "config": {"flowKey": key}}
    changed = await manager.patch(f"/flows/{key}", json={"nodes": {"a": itself}})
    assert changed.status_code == 200, changed.text
    ended = await flows.ended(await flows.start(key), "failed")
    assert ended["errors"]


async def test_a_running_flow_is_stopped(flows, platform, workspace):
    """Stopping ends the node that is just running, and nothing follows it."""
    await add_function(platform, workspace.id, "long", config={"function": "sleep"})
    run_long = {"action": {"key": "long"}, "input": {"seconds": 60}}
    nodes = {
        "start": START,
        "a": {"type": "run-action", "config": run_long, "links": [{"key": "b"}]},
        "b": step("too far"),
    }
    run = await flows.start(nodes)
    await eventually(lambda: flows.runs(run, "a"))
    began = monotonic()
    answer = await flows.tenant.post(f"/flow-runs/{run}/stop")
    assert answer.status_code == 200
    await flows.ended(run, "stopped")
    assert monotonic() - began < 2
    assert (await flows.runs(run, "a"))[0]["status"] == "stopped"
    assert await flows.runs(run, "b") == []


async def test_a_run_is_started_once(flows):
    """The same request twice under one key is one run; another request under it is refused."""
    key = await flows.make({"start": START, "a": step(1)})
    header = {"Idempotency-Key": "once"}
    post = flows.tenant.post
    first, again = [
        await post(f"/flows/{key}/run", json={"input": 1}, headers=header) for _ in range(2)
    ]
    assert first.json()["id"] == again.json()["id"]
    other = await post(f"/flows/{key}/run", json={"input": 2}, headers=header)
    assert other.status_code in (409, 422)


@pytest.mark.parametrize("body", [[], {"flowKey": 5}, {"flowKey": "none", "what": 1}, {}])
async def test_bad_bodies_are_refused(flows, body):
    """What no flow can be started by is answered with 400 and a reason."""
    answer = await flows.tenant.post("/flow-runs", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


async def _nested(flows) -> tuple[str, str]:
    """Start a flow that runs a flow that waits for a day; return both runs."""
    inner = await flows.make({"start": START, "a": {"type": "wait", "config": {"days": 1}}})
    middle = await flows.make(
        {"start": START, "a": {"type": "run-flow", "config": {"flowKey": inner}}}
    )
    outer = {
        "start": {"type": "api-trigger", "links": [{"key": "a"}, {"key": "b"}]},
        "a": {"type": "run-flow", "config": {"flowKey": middle}},
        "b": {"type": "wait-for-event", "config": {"event": "go"}, "links": [{"key": "c"}]},
        "c": {"type": "run-python", "config": {"function": "fail"}},
    }
    run = await flows.start(outer)
    between = (await flows.waiting(run, "a"))["childFlowRunId"]
    innermost = (await flows.waiting(between, "a"))["childFlowRunId"]
    await flows.waiting(innermost, "a")
    return run, innermost


async def test_what_a_flow_runs_is_stopped_with_it(flows):
    """Stopping a flow stops the flows that it runs, however deep."""
    run, innermost = await _nested(flows)
    stopped = await flows.tenant.post(f"/flow-runs/{run}/stop")
    assert stopped.json()["state"] == "stopped"
    await flows.ended(innermost, "stopped")


async def test_what_a_failed_flow_runs_is_stopped(flows):
    """A flow that fails on one branch leaves no flow behind that it ran on another."""
    run, innermost = await _nested(flows)
    await flows.tenant.post(f"/flow-runs/{run}/events", json={"event": "go"})
    await flows.ended(run, "failed")
    await flows.ended(innermost, "stopped")


async def test_a_failed_flow_fails_its_node(flows):
    """The node that ran a flow fails with it and says why; with `onError` the outer one goes on."""
    inner = await flows.make(
        {"start": START, "a": {"type": "run-python", "config": {"function": "fail"}}}
    )
    nodes = {"start": START, "a": {"type": "run-flow", "config": {"flowKey": inner}}}
    ended = await flows.ended(await flows.start(nodes), "failed")
    cause = ended["errors"][0]["data"]["cause"]
    assert cause["data"]["cause"]["data"]["nodeKey"] == "a"
    caught = {"key": "b", "filter": {"$var": "$.output.error"}}
    nodes["a"] |= {"onError": "continue", "links": [caught]}
    assert await flows.output({**nodes, "b": step("caught")}) == "caught"
