"""What nodes pass on may be large: lists do not carry it, and no worker holds more than needed."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest

from runtime.tenancy import Owner
from tests.flows.test_running import START, step

_MB = 1024 * 1024


def _grow(megabytes: int, *following: str) -> dict[str, object]:
    """Return a node that passes on so many megabytes."""
    links = [{"key": key} for key in following]
    config = {"function": "letters", "input": {"megabytes": megabytes}}
    return {"type": "run-python", "config": config, "links": links}


async def test_a_large_output_is_had_by_its_id_only(flows):
    """Lists say how large an output is and leave it out; by its id it comes whole."""
    nodes = {
        "start": START,
        "a": _grow(5, "b"),
        "b": step({"size": {"$var": "$.input.text"}}, "c"),
        "c": step("short"),
    }
    run = await flows.start(nodes)
    await flows.ended(run)
    (ran,) = await flows.runs(run, "a")
    (listed,) = ran["outputs"]
    assert (listed["data"], listed["truncated"]) == (None, True)
    assert 5 * _MB < listed["bytes"] < 6 * _MB
    path = f"/flow-runs/{run}/nodes/a/outputs/{listed['id']}"
    whole = (await flows.tenant.get(path)).json()
    assert len(whole["data"]["text"]) >= 5 * _MB
    (after,) = await flows.runs(run, "b")
    assert (after["input"], after["inputTruncated"]) == (None, True)
    assert after["upstreamRuns"] == [{"nodeKey": "a", "runId": ran["id"], "outputId": listed["id"]}]
    shown = (await flows.tenant.get(f"/flow-runs/{run}/nodes/b/runs/{after['id']}")).json()
    assert shown["input"] == whole["data"]


async def test_a_large_input_is_kept_once(flows, platform):
    """What a node gets from another is kept with that one; a fork goes by it all the same."""
    nodes = {"start": START, "a": _grow(1, "b"), "b": step({"$var": "$.input.text"})}
    run = await flows.start(nodes)
    await flows.ended(run)
    rows = await platform.rows(
        "SELECT node_key, input IS NULL AS is_elsewhere FROM node_runs WHERE run_id = %s", run
    )
    assert {"node_key": "b", "is_elsewhere": True} in rows
    (ran,) = await flows.runs(run, "b")
    forked = await flows.tenant.post(f"/flow-runs/{run}/fork", json={"nodeRunId": ran["id"]})
    again = forked.json()["id"]
    await flows.ended(again)
    outputs = [
        (await flows.tenant.get(f"/flow-runs/{each}/output")).json()["output"]
        for each in (run, again)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == _MB


async def test_too_large_an_output_fails_its_node(flows):
    """21 MB are more than a node may pass on, at once or gathered from many items."""
    ended = await flows.ended(await flows.start({"start": START, "a": _grow(21)}), "failed")
    assert "20 MB is the most" in ended["errors"][0]["data"]["cause"]["message"]
    config = {"items": [1, 2, 3], "rootNodeKey": "b"}
    nodes = {"start": START, "a": {"type": "for-each-v2", "config": config}, "b": _grow(9)}
    ended = await flows.ended(await flows.start(nodes), "failed")
    assert ended["errors"][0]["data"]["nodeKey"] == "a"


async def test_large_results_are_not_read_to_go_on(flows, worker, workspace):
    """A run that goes on after a wait finds out what is large without reading it."""
    nodes = {
        "start": START,
        "a": _grow(3, "b"),
        "b": {"type": "wait-for-event", "config": {"event": "go"}, "links": [{"key": "c"}]},
        "c": step({"$var": "$.nodes.a.output.text"}),
    }
    run = await flows.start(nodes)
    await flows.waiting(run, "b")
    owner = Owner(workspace.id, uuid.UUID((await flows.get(run))["tenantId"]))
    claim = SimpleNamespace(run_id=uuid.UUID(run), owner=owner, lease_token=uuid.uuid4())
    recorded = await worker.execution._flows.records.begin(claim)
    large = next(each for each in recorded.values() if each.node_key == "a")
    assert (large.outputs, large.is_elsewhere) == (None, True)
    assert large.size > 3 * _MB
    await flows.tenant.post(f"/flow-runs/{run}/events", json={"event": "go"})
    await flows.ended(run)
    output = (await flows.tenant.get(f"/flow-runs/{run}/output")).json()["output"]
    assert len(output) == 3 * _MB


async def test_lists_of_runs_leave_large_inputs_out(flows):
    """A list says that an input is large; the run by itself has it."""
    run = await flows.start({"start": START, "a": step(1)}, {"text": "x" * _MB + uuid.uuid4().hex})
    await flows.ended(run)
    items = (await flows.tenant.get("/flow-runs?limit=1000")).json()["items"]
    listed = next(item for item in items if item["id"] == run)
    if "inputTruncated" in listed:  # what compresses well is no burden
        assert listed["input"] is None
    assert len((await flows.get(run))["input"]["text"]) > _MB


@pytest.mark.parametrize("output", ["nope", "00000000-0000-0000-0000-000000000000.0"])
async def test_outputs_that_are_not_there(flows, output):
    """An output that does not exist is not found."""
    run = await flows.start({"start": START, "a": step(1)})
    await flows.ended(run)
    for name in ("output", "outputs"):
        path = f"/flow-runs/{run}/nodes/a/{name}/{output}"
        assert (await flows.tenant.get(path)).status_code == 404
