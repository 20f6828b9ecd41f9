"""Flows wait without a worker, and go on when what they wait for comes."""

from __future__ import annotations

from typing import Any

from tests.flows.test_running import START, step
from tests.waiting import eventually


async def test_a_short_wait(flows):
    """A wait passes its input on when its time has come, and not before."""
    wait = {"type": "wait", "config": {"milliseconds": 300}, "links": [{"key": "b"}]}
    run = await flows.start({"start": START, "a": wait, "b": step({"$var": "$.input"})}, "x")
    waited = await flows.waiting(run, "a")
    assert waited["waiting"] == {"for": "time"}
    ended = await flows.ended(run)
    (after,) = await flows.runs(run, "b")
    assert after["startTime"] >= waited["dueAt"]
    assert ended["nodes"]["a"]["runs"] == 1


async def test_a_long_wait_says_why(flows):
    """A run that waits for a month says so, and can be stopped at once."""
    run = await flows.start({"start": START, "a": {"type": "wait", "config": {"days": 30}}})
    await flows.waiting(run, "a")
    why = (await flows.tenant.get(f"/runs/{run}/why")).json()
    assert why["reasons"][0]["reason"] == "waiting"
    assert "'a'" in why["summary"]
    stopped = await flows.tenant.post(f"/flow-runs/{run}/stop")
    assert stopped.json()["state"] == "stopped"
    assert (await flows.runs(run, "a"))[0]["status"] == "stopped"


async def test_an_event_wakes(flows):
    """A node that waits for an event goes on with its data; another event does not wake it."""
    wait = {"type": "wait-for-event", "config": {"event": "paid"}, "links": [{"key": "b"}]}
    run = await flows.start({"start": START, "a": wait, "b": step({"$var": "$.input.amount"})})
    await flows.waiting(run, "a")
    path = f"/flow-runs/{run}/events"
    other = await flows.tenant.post(path, json={"event": "shipped"})
    assert other.status_code == 400
    sent = await flows.tenant.post(path, json={"event": "paid", "data": {"amount": 3}})
    assert sent.json() == {"delivered": 1}
    await flows.ended(run)
    assert (await flows.tenant.get(f"/flow-runs/{run}/output")).json() == {"output": 3}


async def test_in_vain(flows):
    """A wait for an event ends with an error after its time."""
    config = {"event": "paid", "timeoutSeconds": 0.2}
    run = await flows.start({"start": START, "a": {"type": "wait-for-event", "config": config}})
    ended = await flows.ended(run, "failed")
    assert ended["errors"][0]["data"]["cause"]["type"]


async def test_an_approval(flows, globex):
    """Somebody of the tenant decides, once; another tenant cannot."""
    ask = {"type": "approval", "config": {"message": "Really?"}, "links": [{"key": "b"}]}
    nodes = {"start": START, "a": ask, "b": step({"$var": "$.input.approved"})}
    run = await flows.start(nodes)
    asked = await flows.waiting(run, "a")
    assert asked["waiting"]["message"] == "Really?"
    path = f"/flow-runs/{run}/nodes/a/runs/{asked['id']}"
    assert (await globex.post(f"{path}/approve", json={})).status_code == 404
    said = await flows.tenant.post(f"{path}/reject", json={"comment": "no"})
    assert said.status_code == 200, said.text
    await flows.ended(run)
    assert (await flows.tenant.get(f"/flow-runs/{run}/output")).json() == {"output": False}
    assert (await flows.tenant.post(f"{path}/approve", json={})).status_code == 400


async def test_branches_wait_for_themselves(flows):
    """While one item waits, the others go on; the list is whole when the last is done."""
    wait = {"type": "wait-for-event", "config": {"event": "go"}, "links": [{"key": "c"}]}
    late = {"key": "b", "filter": {"$eval": {"$var": "$.output"}, "is": 2}}
    early = {"key": "c", "filter": {"$eval": {"$var": "$.output"}, "isNot": 2}}
    nodes: dict[str, Any] = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "body"},
        },
        "body": {**step({"$var": "$.input"}), "links": [late, early]},
        "b": wait,
        "c": step("done"),
    }
    run = await flows.start(nodes, [1, 2, 3])
    await flows.waiting(run, "b")
    assert len(await flows.runs(run, "c")) == 2
    await flows.tenant.post(f"/flow-runs/{run}/events", json={"event": "go"})
    await flows.ended(run)
    output = (await flows.tenant.get(f"/flow-runs/{run}/output")).json()["output"]
    assert output == ["done"] * 3
    assert len(await flows.runs(run, "body")) == 3


async def test_a_signal_is_not_lost(flows):
    """Twenty runs that get their event as soon as their node is seen waiting all end."""
    wait = {"type": "wait-for-event", "config": {"event": "go"}}
    key = await flows.make({"start": START, "a": wait})
    started = [await flows.start(key) for _ in range(20)]
    for run in started:

        async def sent(run: str = run) -> bool:
            answer = await flows.tenant.post(f"/flow-runs/{run}/events", json={"event": "go"})
            return answer.status_code == 200

        await eventually(sent, seconds=10)
    for run in started:
        await flows.ended(run)
