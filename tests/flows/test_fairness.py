"""Flows take no more than their share: of slots, of credits and of their tenant's turns."""

from __future__ import annotations

import pytest

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.lanes.client import connect
from runtime.stamps import MessageStamps
from scheduler.due import send_due
from tests.acceptance.test_caps import Office, in_force
from tests.api.asking import ok
from tests.flows.test_running import START, step
from tests.samples import add_function, crm_workspace
from tests.waiting import eventually

__all__ = ["in_force"]


async def test_one_flow_run_a_connection(flows, platform, workspace, manager, acme, crm, in_force):
    """With a cap on flow runs, a second one over a connection waits, and says what for."""
    await crm_workspace(platform, workspace, crm)
    office = Office(platform, workspace, manager, in_force)
    await office.connect(acme, "one", "two")
    cap = await office.cap(1, "flows")
    await add_function(platform, workspace.id, "sleep", safeToRepeat=True)
    nap = {"action": {"key": "sleep"}, "input": {"seconds": 60}}
    key = await flows.make({"start": START, "a": {"type": "run-action", "config": nap}})
    first = await flows.start(key, connectionKey="one")
    await eventually(lambda: flows.runs(first, "start"))
    second = await flows.start(key, connectionKey="one")
    other = await flows.start(key, connectionKey="two")
    await eventually(lambda: flows.runs(other, "start"))

    async def capped():
        why = await ok(acme.get(f"/runs/{second}/why"))
        return next((each for each in why["reasons"] if each["reason"] == "cap"), None)

    reason = await eventually(capped)
    connection = (await flows.get(second))["connectionId"]
    assert (reason["cap"], reason["limit"]) == (f"flow:{connection}", 1)
    await ok(acme.post(f"/flow-runs/{first}/stop"))
    await eventually(lambda: flows.runs(second, "start"))
    for run in (second, other):
        await ok(acme.post(f"/flow-runs/{run}/stop"))
    assert (await ok(manager.get(f"/caps/{cap['id']}")))["scope"] == "flows"
    own = {"scope": "flows", "amount": 5, "connectionId": connection}
    assert (await ok(manager.put("/caps", json=own)))["connectionId"] == connection
    refused = await manager.put("/caps", json={"scope": "flows", "amount": 1, "actionKey": "x"})
    assert refused.status_code == 400


@pytest.mark.parametrize("place", ["chain", "body"])
async def test_a_flow_parks_at_a_limit_and_goes_on(flows, platform, workspace, manager, place):
    """Where a limit parks, a flow waits in its middle, says why, and goes on when there is room."""
    await add_function(
        platform, workspace.id, "paid", config={"function": "echo"}, safeToRepeat=True
    )
    limit = {
        "resource": "action-runs",
        "scope": "tenant",
        "window": "1h",
        "limit": 2,
        "whenReached": "park",
    }
    made = await ok(manager.post("/limits", json=limit), 201)
    paid = {"type": "run-action", "config": {"action": {"key": "paid"}}}
    chain = {
        "start": START,
        "a": {**paid, "links": [{"key": "b"}]},
        "b": {**paid, "links": [{"key": "c"}]},
        "c": paid,
    }
    body = {
        "start": START,
        "a": {"type": "for-each-v2", "config": {"items": [1, 2, 3], "rootNodeKey": "c"}},
        "c": paid,
    }
    run = await flows.start(chain if place == "chain" else body)

    async def parked():
        found = [each for each in await flows.runs(run, "c") if each["status"] == "waiting"]
        return found and (await flows.get(run))["state"] == "queued" and found

    (waiting,) = await eventually(parked)
    assert waiting["waiting"]["for"] == "limit"
    why = await ok(flows.tenant.get(f"/runs/{run}/why"))
    assert "'c'" in why["summary"]
    assert "limit" in why["summary"]
    before = await platform.rows(
        "SELECT id, finished_at FROM node_runs WHERE run_id = %s AND status = 'completed'", run
    )
    await ok(manager.patch(f"/limits/{made['id']}", json={"limit": 10}))
    # As if the hour had passed: what waits for room looks for it in ten minutes at the latest.
    async with platform.owner() as owner:
        await owner.execute("UPDATE node_runs SET due_at = now() WHERE run_id = %s", (run,))
        await owner.execute("UPDATE runs SET due_at = now() WHERE id = %s", (run,))
    await _send_due(platform)
    await flows.ended(run)
    after = await platform.rows("SELECT id, finished_at FROM node_runs WHERE run_id = %s", run)
    assert all(row in after for row in before)
    used = await platform.rows("SELECT resource, amount FROM usage_records WHERE run_id = %s", run)
    assert {row["resource"]: int(row["amount"]) for row in used} == {
        "action-runs": 3,
        "flow-runs": 1,
    }
    held = await platform.rows(
        "SELECT total FROM credit_windows WHERE workspace_id = %s", workspace.id
    )
    assert [int(row["total"]) for row in held] == [3]


async def _send_due(platform):
    """Do what the scheduler does every few seconds."""
    async with Database(platform.settings, platform.root, ["scheduler"], size=2) as database:
        redis = connect(platform.redis_url)
        await send_due(database, Dispatch(redis, MessageStamps(platform.root)))
        await redis.aclose()


async def test_branches_are_charged(flows, platform, workspace, monkeypatch):
    """Ten branches that nap at once hold one slot, and the lane is charged for all of them."""
    charged = []

    async def note(self, owner, queue, seconds):
        charged.append(seconds)

    monkeypatch.setattr(Dispatch, "charge", note)
    await add_function(platform, workspace.id, "sleep", safeToRepeat=True)
    nap = {"action": {"key": "sleep"}, "input": {"seconds": 0.4}}
    nodes = {
        "start": START,
        "a": {"type": "for-each-v2", "config": {"items": [*range(10)], "rootNodeKey": "b"}},
        "b": {"type": "run-action", "config": nap},
    }
    await flows.ended(await flows.start(nodes))
    assert sum(charged) > 2
    charged.clear()
    await flows.ended(await flows.start({"start": START, "a": step(1, "b"), "b": step(2)}))
    assert not charged
