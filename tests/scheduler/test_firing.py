"""Ticks become runs, each once, with the rights of the scheduler's logins."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.lanes.client import connect
from runtime.stamps import MessageStamps
from scheduler.firing import Firing
from scheduler.relay import Relay
from scheduler.triggers import reconcile_triggers
from tests.api import seeds
from tests.api.asking import ok
from tests.waiting import eventually

PASS_ON = {
    "tick": {
        "type": "schedule-trigger",
        "config": {"intervalMinutes": 60},
        "links": [{"key": "out"}],
    },
    "out": {
        "type": "transform-data",
        "config": {"output": {"at": {"$var": "$.trigger.scheduledAt"}}},
    },
}
WAITING = {
    "tick": {**PASS_ON["tick"], "links": [{"key": "wait"}]},
    "wait": {"type": "wait-for-event", "config": {"event": "go"}},
}


class Clock:
    """Makes schedules of a tenant, and makes their time come."""

    def __init__(self, platform, tenant, firing):
        self._platform = platform
        self.tenant = tenant
        self.firing = firing

    async def make(self, nodes=PASS_ON, **times):
        """Make a schedule of a flow, by a call."""
        key = f"flow-{uuid.uuid4().hex[:8]}"
        await ok(self.tenant.post("/flows", json={"key": key, "nodes": nodes}), 201)
        body = {"flowKey": key, **(times or {"intervalMinutes": 60})}
        return await ok(self.tenant.post("/schedules", json=body), 201)

    async def get(self, schedule):
        """Return a schedule as it is now."""
        return await ok(self.tenant.get(f"/schedules/{schedule['id']}"))

    async def come(self, schedule, late=timedelta()):
        """Have the next tick of a schedule be due, for so long already, and fire."""
        await self._platform.rows(
            "UPDATE schedules SET created_at = created_at - (next_at - now()) - %s,"
            " nominal_at = now() - %s, next_at = now() - %s WHERE id = %s RETURNING id",
            *(late, late, late, uuid.UUID(schedule["id"])),
        )
        await self.firing.fire_all()
        return await self.get(schedule)

    async def runs(self, schedule):
        """Return the runs of a schedule, oldest tick first."""
        return await self._platform.rows(
            "SELECT id, kind, status, input, request, error, sent_at FROM runs"
            " WHERE request->'launchedBy'->'ids' ? %s ORDER BY id",
            schedule["id"],
        )


@pytest.fixture
async def firing(platform, database, redis):
    """What fires schedules in a scheduler."""
    return Firing(database, Dispatch(redis, MessageStamps(platform.root)), backlog=1000)


@pytest.fixture
async def clock(platform, acme, firing):
    """Schedules of acme."""
    return Clock(platform, acme, firing)


async def test_a_tick_runs_the_flow(clock, worker):
    """With the times of the tick, from the trigger; and `why` has an answer for it."""
    schedule = await clock.make()
    before = await clock.get(schedule)
    assert before["state"] == "active"
    after = await clock.come(schedule)
    (run,) = await clock.runs(schedule)
    assert after["lastRunId"] == str(run["id"])
    assert after["runCount"] == 1
    assert after["nextScheduledAt"] > after["lastScheduledAt"]

    async def ended():
        shown = await ok(clock.tenant.get(f"/flow-runs/{run['id']}"))
        return shown if shown["state"] == "completed" else None

    shown = await eventually(ended)
    assert shown["launchedBy"]["type"] == "schedule-trigger"
    assert shown["launchedBy"]["ids"] == [schedule["id"]]
    assert shown["startNodeKey"] == "tick"
    assert shown["input"].keys() == {"triggeredAt", "scheduledAt"}
    output = await ok(clock.tenant.get(f"/flow-runs/{run['id']}/output"))
    assert output["output"] == {"at": shown["input"]["scheduledAt"]}
    assert (await ok(clock.tenant.get(f"/runs/{run['id']}/why")))["status"] == "completed"


async def test_a_tick_runs_an_action(clock, worker):
    """With the input that the schedule has."""
    await ok(
        clock.tenant.post(
            "/actions",
            json={"key": "say", "type": "run-python", "config": {"function": "echo"}},
        ),
        201,
    )
    body = {"actionKey": "say", "cron": "0 3 * * *", "input": {"word": "hello"}}
    schedule = await ok(clock.tenant.post("/schedules", json=body), 201)
    await clock.come(schedule)
    (run,) = await clock.runs(schedule)

    async def ended():
        shown = await ok(clock.tenant.get(f"/runs/{run['id']}"))
        return shown if shown["status"] == "completed" else None

    assert (await eventually(ended))["input"] == {"word": "hello"}


async def test_a_trigger_makes_a_schedule_and_takes_it_along(
    platform, acme, database, redis, clock
):
    """Its times are the effective flow's, its state the trigger's; what is known of it stays."""
    key = f"flow-{uuid.uuid4().hex[:8]}"
    await ok(acme.post("/flows", json={"key": key, "nodes": PASS_ON}), 201)
    await reconcile_triggers(database, redis)

    async def only():
        await reconcile_triggers(database, redis)
        (one,) = (await ok(acme.get(f"/schedules?flowKey={key}")))["items"]
        return one

    made = await only()
    assert made["source"] == "flow-trigger"
    assert made["intervalMinutes"] == 60
    assert made["nodeKey"] == "tick"
    assert (await clock.come(made))["runCount"] == 1

    daily = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "intervalMinutes": None}
    await ok(acme.patch(f"/flows/{key}", json={"nodes": {"tick": {"config": daily}}}))
    changed = await only()
    assert changed["cron"] == "0 3 * * *"
    assert "intervalMinutes" not in changed
    assert changed["nextAt"] != made["nextAt"]

    await ok(acme.patch(f"/flows/{key}", json={"enabled": False}))
    off = await only()
    assert (off["state"], off["reason"]) == ("inactive", "The flow is not enabled.")
    assert off["nextAt"] is None
    await ok(acme.patch(f"/flows/{key}", json={"enabled": True}))
    again = await only()
    assert again["id"] == made["id"]
    assert again["state"] == "active"
    assert again["runCount"] == 1
    assert again["nextAt"] == changed["nextAt"]

    await ok(acme.post(f"/schedules/{made['id']}/pause"))
    await ok(acme.patch(f"/flows/{key}", json={"enabled": False}))
    await only()
    await ok(acme.patch(f"/flows/{key}", json={"enabled": True}))
    paused = await only()
    assert (paused["state"], paused["nextAt"]) == ("paused", None)
    assert (await ok(acme.post(f"/schedules/{made['id']}/resume")))["state"] == "active"


async def test_skip_leaves_a_tick_out_while_the_last_run_is_under_way(clock):
    """It says so on the schedule; with `allow` both run."""
    schedule = await clock.make(WAITING)
    await clock.come(schedule)
    after = await clock.come(schedule)
    assert len(await clock.runs(schedule)) == 1
    assert after["lastSkippedReason"] == "overlap"
    assert after["skippedCount"] == 1
    assert after["state"] == "active"

    both = await clock.make(WAITING, intervalMinutes=60, overlap="allow")
    await clock.come(both)
    await clock.come(both)
    assert len(await clock.runs(both)) == 2


async def test_queue_runs_ticks_one_after_the_other(platform, clock):
    """The second waits for the first to end, and is not lost."""
    schedule = await clock.make(WAITING, intervalMinutes=60, overlap="queue")
    await clock.come(schedule)
    held = await clock.come(schedule)
    assert held["state"] == "held"
    assert len(await clock.runs(schedule)) == 1
    await platform.rows(
        "UPDATE runs SET status = 'completed', finished_at = now() WHERE id = %s RETURNING id",
        (await clock.runs(schedule))[0]["id"],
    )
    await platform.rows(
        "UPDATE schedules SET next_at = now() WHERE id = %s RETURNING id",
        uuid.UUID(schedule["id"]),
    )
    await clock.firing.fire_all()
    assert len(await clock.runs(schedule)) == 2
    assert (await clock.get(schedule))["state"] == "active"


async def test_an_outage_costs_what_the_schedule_says(clock):
    """Of five missed ticks one runs, or none that is late, or all of the window."""
    late = timedelta(minutes=306)
    last = await clock.make()
    assert (await clock.come(last, late))["lastSkippedReason"] == "missed"
    assert len(await clock.runs(last)) == 1
    nothing = await clock.make(intervalMinutes=60, catchUp="none")
    await clock.come(nothing, late)
    assert len(await clock.runs(nothing)) == 0
    all_of_them = await clock.make(intervalMinutes=60, catchUp="all", overlap="allow")
    await clock.come(all_of_them, late)
    runs = await clock.runs(all_of_them)
    assert len(runs) == 6
    times = [datetime.fromisoformat(run["input"]["scheduledAt"]) for run in runs]
    assert {second - first for first, second in itertools.pairwise(times)} == {timedelta(hours=1)}


async def test_a_flow_that_was_switched_off_ends_its_run_without_alarm(
    platform, manager, clock, worker
):
    """Between tick and start: the run is stopped, says why, and is no dead letter."""
    schedule = await clock.make()
    off = {"enabled": False}
    await ok(clock.tenant.patch(f"/flows/{schedule['flowKey']}", json=off))
    await clock.come(schedule)
    (run,) = await clock.runs(schedule)

    async def ended():
        shown = await ok(clock.tenant.get(f"/flow-runs/{run['id']}"))
        return shown if shown["state"] in ("completed", "stopped", "failed") else None

    shown = await eventually(ended)
    assert shown["state"] == "stopped"
    assert "not enabled" in shown["errors"][0]["message"]
    assert (await ok(manager.get("/dead-letters")))["items"] == []


async def test_a_node_that_is_no_more_ends_its_run_likewise(platform, clock, worker):
    """The trigger was taken out of the flow meanwhile."""
    nodes = {**PASS_ON, "other": {"type": "api-trigger"}}
    schedule = await clock.make(nodes, intervalMinutes=60, nodeKey="tick")
    gone = {"nodes": {"tick": None, "out": None}}
    await ok(clock.tenant.patch(f"/flows/{schedule['flowKey']}", json=gone))
    await clock.come(schedule)
    (run,) = await clock.runs(schedule)

    async def ended():
        shown = await ok(clock.tenant.get(f"/flow-runs/{run['id']}"))
        return shown if shown["state"] in ("completed", "stopped", "failed") else None

    shown = await eventually(ended)
    assert shown["state"] == "stopped"
    assert "tick" in shown["errors"][0]["message"]


async def test_archiving_silences_and_restoring_makes_up_for_nothing(
    manager, clock, database, redis
):
    """A tenant's schedules stand still at once, and go on with the tick that comes next."""
    schedule = await clock.make(cron="0 3 * * *")
    paused = await clock.make(cron="0 3 * * *")
    await ok(clock.tenant.post(f"/schedules/{paused['id']}/pause"))
    await ok(manager.delete("/customers/acme"))
    await reconcile_triggers(database, redis)
    off = await ok(manager.get(f"/schedules/{schedule['id']}"))
    assert (off["state"], off["reason"]) == ("inactive", "The tenant is archived.")
    assert off["nextAt"] is None
    await clock.firing.fire_all()
    assert await clock.runs(schedule) == []

    await ok(manager.post("/customers/acme/restore"))
    await reconcile_triggers(database, redis)
    on = await ok(manager.get(f"/schedules/{schedule['id']}"))
    assert on["state"] == "active"
    assert datetime.fromisoformat(on["nextAt"]) > datetime.now(UTC)
    assert (await ok(manager.get(f"/schedules/{paused['id']}")))["state"] == "paused"
    await clock.firing.fire_all()
    assert await clock.runs(schedule) == []


async def test_a_connection_takes_its_schedules_along(
    platform, workspace, manager, acme, database, redis
):
    """Archived, and restored; what is started without it goes on."""
    crm = await seeds.integration(platform, workspace)
    tenant = await seeds.tenant_id(acme)
    link = await seeds.connection(platform, workspace, tenant, integration_id=crm)
    await ok(manager.post("/flows", json={"key": "f", "nodes": PASS_ON}), 201)
    body = {"flowKey": "f", "intervalMinutes": 5}
    over = await ok(acme.post("/schedules", json={**body, "connectionId": str(link)}), 201)
    without = await ok(acme.post("/schedules", json=body), 201)
    await ok(acme.delete(f"/connections/{link}"))
    await reconcile_triggers(database, redis)
    assert (await ok(acme.get(f"/schedules/{over['id']}")))["reason"].startswith("The connection")
    assert (await ok(acme.get(f"/schedules/{without['id']}")))["state"] == "active"
    await ok(acme.post(f"/connections/{link}/restore"))
    await reconcile_triggers(database, redis)
    assert (await ok(acme.get(f"/schedules/{over['id']}")))["state"] == "active"
    await ok(manager.delete("/flows/f"))
    await reconcile_triggers(database, redis)
    assert (await ok(acme.get(f"/schedules/{without['id']}")))["state"] == "inactive"


async def test_a_crash_between_commit_and_message_is_healed(platform, database, redis, acme):
    """The run is there, unsent as far as the queue knows; the relay sends it."""

    class Lost(Dispatch):
        async def send(self, runs, *, refill=False):
            raise ConnectionResetError

    stamps = MessageStamps(platform.root)
    clock = Clock(platform, acme, Firing(database, Lost(redis, stamps), backlog=None))
    schedule = await clock.make()
    with pytest.raises(ConnectionResetError):
        await clock.come(schedule)
    (run,) = await clock.runs(schedule)
    assert run["status"] == "queued"
    why = await ok(acme.get(f"/runs/{run['id']}/why"))
    assert why["reasons"][0]["reason"] == "lost"
    await platform.rows(
        "UPDATE runs SET sent_at = now() - interval '1 minute' WHERE id = %s RETURNING id",
        run["id"],
    )
    await Relay(database, redis, Dispatch(redis, stamps)).relay()
    why = await ok(acme.get(f"/runs/{run['id']}/why"))
    assert why["reasons"][0]["reason"] in ("queue", "starting", "completed", "running")
    # And the tick is over: nobody fires it again.
    await Firing(database, Dispatch(redis, stamps), backlog=None).fire_all()
    assert len(await clock.runs(schedule)) == 1


async def test_who_dies_before_the_commit_leaves_the_tick_to_others(clock, monkeypatch):
    """Nothing of a transaction that did not end is there; the tick is due as before."""
    schedule = await clock.make()

    async def dies(*_):
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr("scheduler.firing.move", dies)
        with pytest.raises(SystemError):
            await clock.come(schedule)
    assert await clock.runs(schedule) == []
    await clock.firing.fire_all()
    assert len(await clock.runs(schedule)) == 1


@pytest.mark.parametrize("forgets", ["last_run_id", "last_run_id = NULL, last_scheduled_at"])
async def test_a_row_that_was_moved_back_makes_no_second_run(platform, clock, forgets):
    """The schedule knows which tick it ran last; were that gone too, the run's id is taken."""
    schedule = await clock.make()
    await clock.come(schedule)
    await platform.rows(
        f"UPDATE schedules SET nominal_at = last_scheduled_at, next_at = now(), {forgets} = NULL"
        " WHERE id = %s RETURNING id",
        uuid.UUID(schedule["id"]),
    )
    await clock.firing.fire_all()
    assert len(await clock.runs(schedule)) == 1
    assert (await clock.get(schedule))["runCount"] == 1


async def test_what_is_overdue_does_not_make_the_fresh_late(platform, clock, monkeypatch):
    """A tick that has just become due is among the first that are taken, whatever waits."""
    monkeypatch.setattr("scheduler.firing._BATCH", 4)
    schedules = [await clock.make() for _ in range(8)]
    for age, schedule in enumerate(schedules):
        await platform.rows(
            "UPDATE schedules SET next_at = now() - make_interval(mins => %s),"
            " nominal_at = now() - make_interval(mins => %s) WHERE id = %s RETURNING id",
            *(age + 1, age + 1, uuid.UUID(schedule["id"])),
        )
    due = {str(row["id"]) for row in await clock.firing._due()}
    ours = [schedule["id"] for schedule in schedules]
    assert due & set(ours) >= {ours[0]}
    assert len(due) == 4
    await clock.firing.fire_all()
    assert [len(await clock.runs(schedule)) for schedule in schedules] == [1] * 8


async def test_one_that_cannot_be_read_holds_up_no_other(platform, clock, caplog):
    """Such as a time zone that is no more; it stands still, and says so."""
    broken, sound = await clock.make(), await clock.make()
    await platform.rows(
        "UPDATE schedules SET timing = %s WHERE id = %s RETURNING id",
        *(json.dumps({"cron": "* * * * *", "timezone": "Gone/Away"}), uuid.UUID(broken["id"])),
    )
    await clock.come(broken)
    await clock.come(sound)
    assert len(await clock.runs(sound)) == 1
    assert (await clock.get(broken))["lastSkippedReason"] == "not_valid"


async def test_a_full_backlog_is_not_added_to(platform, workspace, manager, clock):
    """What waits in the table counts, against the tenant's cap; the tick is skipped."""
    schedule = await clock.make(intervalMinutes=60, overlap="allow")
    cap = {"scope": "tenant", "tenantKey": "acme", "state": "queued", "amount": 1}
    await ok(manager.put("/caps", json=cap))
    tenant = await seeds.tenant_id(clock.tenant)
    waiting = await seeds.run(platform, workspace, tenant, sent_at=None)
    assert (await clock.come(schedule))["lastSkippedReason"] == "backlog_full"
    assert await clock.runs(schedule) == []
    await platform.rows("UPDATE runs SET sent_at = now() WHERE id = %s RETURNING id", waiting)
    await clock.come(schedule)
    assert len(await clock.runs(schedule)) == 1


async def test_a_scheduler_sleeps_until_a_tick_and_is_woken_for_an_earlier_one(
    platform, clock, monkeypatch
):
    """It is told of a new schedule, and asks nothing of the database in between."""
    looks = []
    wait = Firing._wait

    async def counted(self):
        looks.append(await wait(self))
        return looks[-1]

    monkeypatch.setattr(Firing, "_wait", counted)
    monkeypatch.setattr("scheduler.firing._LOOK", 3600.0)
    listening = connect(platform.settings.required_redis_url(), patience=None)
    task = asyncio.create_task(clock.firing.run(listening))
    try:
        await eventually(lambda: len(looks) > 1)  # at its start, and when it listens
        before = len(looks)
        schedule = await clock.make(intervalSeconds=1, overlap="allow")

        async def ran_twice():
            return len(await clock.runs(schedule)) >= 2

        await eventually(ran_twice)
        runs = await clock.runs(schedule)
        assert len(looks) - before <= 2 * len(runs) + 4
        for run in runs[:2]:
            at = run["input"]
            late = datetime.fromisoformat(at["triggeredAt"]) - datetime.fromisoformat(
                at["scheduledAt"]
            )
            assert timedelta() <= late
        await ok(clock.tenant.delete(f"/schedules/{schedule['id']}"))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await listening.aclose()


async def test_separate_logins_are_enough(platform, clock):
    """A scheduler has the logins of the scheduler and of workers, and no other."""
    async with Database(platform.settings, platform.root, ["scheduler", "worker"], size=1) as own:
        client = connect(platform.settings.required_redis_url())
        schedule = await clock.make()
        clock.firing = Firing(own, Dispatch(client, MessageStamps(platform.root)), backlog=None)
        await clock.come(schedule)
        await client.aclose()
    assert len(await clock.runs(schedule)) == 1
