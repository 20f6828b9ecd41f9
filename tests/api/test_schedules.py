"""Schedules by API: made, shown, changed, paused, run by hand, backfilled, deleted."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.asking import ok, refused

NODES = {
    "tick": {"type": "schedule-trigger"},
    "call": {
        "type": "api-trigger",
        "config": {"inputSchema": {"type": "object", "required": ["word"]}},
    },
}


@pytest.fixture
async def flow(acme):
    """A flow of acme's that the clock starts, and that calls start."""
    await ok(acme.post("/flows", json={"key": "sync", "nodes": NODES}), 201)
    return "sync"


@pytest.fixture
def make(acme, flow):
    """Makes schedules of it."""

    async def make(**body):
        times = {} if {"cron", "intervalSeconds"} & body.keys() else {"intervalMinutes": 30}
        whole = {"flowKey": flow, "nodeKey": "tick", **times, **body}
        return await ok(acme.post("/schedules", json=whole), 201)

    return make


async def test_a_schedule_says_when_it_ticks(acme, make):
    """Next, and the times after that, in the schedule's own zone."""
    made = await make(cron="30 9 * * MON-FRI", timezone="Europe/Berlin", name="Mornings")
    assert made["state"] == "active"
    assert made["name"] == "Mornings"
    assert made["flowKey"] == "sync"
    upcoming = await ok(acme.get(f"/schedules/{made['id']}/next?count=7"))
    times = [datetime.fromisoformat(each["scheduledAt"]) for each in upcoming["items"]]
    assert len(times) == 7
    assert times == sorted(set(times))
    assert made["nextAt"] == upcoming["items"][0]["dueAt"]
    assert len((await ok(acme.get(f"/schedules/{made['id']}/next")))["items"]) == 10
    await refused(acme.get(f"/schedules/{made['id']}/next?count=0"), 400)


async def test_jitter_shows_in_when_and_not_in_what(acme, globex, make):
    """A tick is due later than it is for, by the same each time."""
    made = await make(cron="0 3 * * *", jitterSeconds=3600)
    items = (await ok(acme.get(f"/schedules/{made['id']}/next")))["items"]
    lags = {
        datetime.fromisoformat(each["dueAt"]) - datetime.fromisoformat(each["scheduledAt"])
        for each in items
    }
    assert len(lags) == 1
    assert timedelta() < lags.pop() < timedelta(hours=1)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"cron": "every day"}, "/cron"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Bielefeld"}, "/timezone"),
        ({"cron": "0 3 * * *", "startAt": "2027-02-01", "endAt": "2027-01-01"}, "/endAt"),
        ({"cron": "0 3 * * *", "endAt": "2020-01-01"}, "/endAt"),
        ({"intervalSeconds": 0.1}, "/intervalSeconds"),
        ({"cron": "0 3 * * *", "overlap": "perhaps"}, "/overlap"),
        ({"cron": "0 3 * * *", "nonsense": 1}, "/nonsense"),
        ({"cron": "0 3 * * *", "nodeKey": "nowhere"}, "/startNodeKey"),
    ],
)
async def test_what_is_wrong_with_a_schedule_is_named(acme, flow, body, path):
    """With its path, before anything is made."""
    whole = {"flowKey": flow, "nodeKey": "tick", **body}
    error = await refused(acme.post("/schedules", json=whole), 400)
    found = [fault["path"] for fault in error["data"].get("errors", [error["data"]])]
    assert path in found
    assert (await ok(acme.get("/schedules")))["items"] == []


async def test_what_is_started_must_be_there_and_take_the_input(acme, flow):
    """Exactly one flow or action, with an input that fits it."""
    every = {"intervalMinutes": 5}
    assert (
        "name what is started"
        in (await refused(acme.post("/schedules", json=every), 400))["message"]
    )
    both = {**every, "flowKey": flow, "actionKey": "say"}
    await refused(acme.post("/schedules", json=both), 400)
    await refused(acme.post("/schedules", json={**every, "flowKey": "none"}), 404)
    unfit = {**every, "flowKey": flow, "nodeKey": "call", "input": {"words": 1}}
    await refused(acme.post("/schedules", json=unfit), 400)
    await refused(acme.post("/schedules", json={**every, "flowKey": flow, "nodeKey": "call"}), 400)
    fits = {**every, "flowKey": flow, "nodeKey": "call", "input": {"word": "hello"}}
    made = await ok(acme.post("/schedules", json=fits), 201)
    assert made["input"] == {"word": "hello"}
    await refused(acme.patch(f"/schedules/{made['id']}", json={"input": {"words": 1}}), 400)
    changed = await ok(acme.patch(f"/schedules/{made['id']}", json={"input": {"word": "ho"}}))
    assert changed["input"] == {"word": "ho"}


async def test_a_flow_whose_schedule_can_not_be_is_not_saved(acme):
    """The same checks, with the place in the flow; one that says nothing yet is a draft."""
    nodes = {"tick": {"type": "schedule-trigger", "config": {"cron": "0 0 31 2 *"}}}
    error = await refused(acme.post("/flows", json={"key": "bad", "nodes": nodes}), 400)
    assert [fault["path"] for fault in error["data"]["errors"]] == ["/nodes/tick/config/cron"]
    nodes["tick"]["config"] = {"intervalMinutes": 0}
    error = await refused(acme.post("/flows", json={"key": "bad", "nodes": nodes}), 400)
    assert error["data"]["errors"][0]["path"] == "/nodes/tick/config/intervalMinutes"
    nodes["tick"]["config"] = {}
    await ok(acme.post("/flows", json={"key": "draft", "nodes": nodes}), 201)


async def test_a_change_moves_the_next_tick(acme, make):
    """A cron takes the interval's place; what is not about time leaves the tick where it is."""
    made = await make()
    named = await ok(acme.patch(f"/schedules/{made['id']}", json={"name": "Sync"}))
    assert named["nextAt"] == made["nextAt"]
    assert named["revision"] == made["revision"] + 1
    changed = await ok(
        acme.patch(f"/schedules/{made['id']}", json={"cron": "0 3 * * *", "jitterSeconds": 5})
    )
    assert "intervalMinutes" not in changed
    assert changed["cron"] == "0 3 * * *"
    assert changed["nextAt"] != made["nextAt"]
    plain = await ok(acme.patch(f"/schedules/{made['id']}", json={"jitterSeconds": None}))
    assert "jitterSeconds" not in plain
    await refused(acme.patch(f"/schedules/{made['id']}", json={"cron": "x"}), 400)
    error = await refused(acme.patch(f"/schedules/{made['id']}", json={"flowKey": "other"}), 400)
    assert error["data"]["errors"][0]["path"] == "/flowKey"
    # What was shown may be sent back.
    await ok(acme.patch(f"/schedules/{made['id']}", json=plain))


async def test_a_paused_schedule_has_no_next_tick(acme, make):
    """Until it is resumed; both may be said twice."""
    made = await make()
    for _ in range(2):
        paused = await ok(acme.post(f"/schedules/{made['id']}/pause"))
        assert (paused["state"], paused["nextAt"]) == ("paused", None)
    changed = await ok(acme.patch(f"/schedules/{made['id']}", json={"intervalMinutes": 10}))
    assert changed["nextAt"] is None
    for _ in range(2):
        on = await ok(acme.post(f"/schedules/{made['id']}/resume"))
        assert on["state"] == "active"
        assert datetime.fromisoformat(on["nextAt"]) > datetime.now(UTC)


async def test_running_by_hand_leaves_the_ticks_alone(acme, make):
    """It makes a run of the schedule, at once."""
    made = await make()
    ran = await ok(acme.post(f"/schedules/{made['id']}/run"))
    shown = await ok(acme.get(f"/flow-runs/{ran['runId']}"))
    assert shown["launchedBy"]["ids"] == [made["id"]]
    assert shown["startNodeKey"] == "tick"
    after = await ok(acme.get(f"/schedules/{made['id']}"))
    assert (after["nextAt"], after["runCount"]) == (made["nextAt"], 0)


async def test_a_backfill_runs_what_has_no_run_yet(acme, make):
    """Asked twice it makes nothing more; intervals reach back from where they are counted."""
    made = await make(cron="0 * * * *")
    to = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(hours=1)
    span = {"from": (to - timedelta(hours=5)).isoformat(), "to": to.isoformat()}
    first = await ok(acme.post(f"/schedules/{made['id']}/backfill", json=span))
    assert len(first["items"]) == 5
    assert all(each["isNew"] for each in first["items"])
    again = await ok(acme.post(f"/schedules/{made['id']}/backfill", json=span))
    assert [each["runId"] for each in again["items"]] == [each["runId"] for each in first["items"]]
    assert not any(each["isNew"] for each in again["items"])
    run = await ok(acme.get(f"/flow-runs/{first['items'][0]['runId']}"))
    at = datetime.fromisoformat(run["input"]["scheduledAt"])
    assert at == datetime.fromisoformat(first["items"][0]["scheduledAt"])

    half_hourly = await make()
    some = await ok(acme.post(f"/schedules/{half_hourly['id']}/backfill", json=span))
    assert len(some["items"]) == 10


@pytest.mark.parametrize(
    ("since", "until", "path"),
    [
        (None, "2026-01-01T00:00:00Z", "/from"),
        ("yesterday", "2026-01-01T00:00:00Z", "/from"),
        ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "/from"),
        (timedelta(hours=-1), timedelta(hours=1), "/to"),
        (timedelta(hours=-1), timedelta(hours=-2), "/from"),
        (timedelta(days=-20), timedelta(minutes=-1), "/to"),
        (17, None, "/from"),
    ],
)
async def test_a_backfill_has_bounds(acme, make, since, until, path):
    """A thousand ticks of the last four weeks at most."""
    made = await make(cron="* * * * *")

    def moment(value):
        is_span = isinstance(value, timedelta)
        return (datetime.now(UTC) + value).isoformat() if is_span else value

    span = {"from": moment(since), "to": moment(until)}
    error = await refused(acme.post(f"/schedules/{made['id']}/backfill", json=span), 400)
    assert error["data"]["errors"][0]["path"] == path


async def test_deleted_is_gone_and_its_runs_are_not(acme, make):
    """The run stays to be looked at."""
    made = await make()
    ran = await ok(acme.post(f"/schedules/{made['id']}/run"))
    assert (await ok(acme.delete(f"/schedules/{made['id']}")))["id"] == made["id"]
    await refused(acme.get(f"/schedules/{made['id']}"), 404)
    await ok(acme.get(f"/flow-runs/{ran['runId']}"))


async def test_schedules_are_ones_own(acme, globex, manager, make, make_workspace):
    """A neighbour finds nothing, a manager all of its workspace's and no other's."""
    made = await make()
    stranger = await (await make_workspace()).manager()
    for caller in (globex, stranger):
        assert (await ok(caller.get("/schedules")))["items"] == []
        await refused(caller.get(f"/schedules/{made['id']}"), 404)
        await refused(caller.patch(f"/schedules/{made['id']}", json={"name": "x"}), 404)
        for verb in ("pause", "resume", "run"):
            await refused(caller.post(f"/schedules/{made['id']}/{verb}"), 404)
    assert [each["id"] for each in (await ok(manager.get("/schedules?tenantKey=acme")))["items"]]
    assert (await ok(manager.post(f"/schedules/{made['id']}/pause")))["state"] == "paused"
    await refused(manager.post("/schedules", json={"flowKey": "sync", "intervalMinutes": 5}), 403)
    await refused(acme.get(f"/schedules/{uuid.uuid4()}"), 404)
    await refused(acme.get("/schedules/nonsense"), 404)


async def test_lists_narrow_and_page(acme, make):
    """By flow, by where it comes from; a page at a time."""
    for _ in range(3):
        await make()
    page = await ok(acme.get("/schedules?limit=2"))
    assert len(page["items"]) == 2
    rest = await ok(acme.get(f"/schedules?limit=2&cursor={page['cursor']}"))
    assert len(rest["items"]) == 1
    assert (await ok(acme.get("/schedules?flowKey=other")))["items"] == []
    assert (await ok(acme.get("/schedules?source=flow-trigger")))["items"] == []
    assert len((await ok(acme.get("/schedules?source=api&flowKey=sync")))["items"]) == 3
    await refused(acme.get("/schedules?source=elsewhere"), 400)


async def test_what_is_done_to_a_schedule_is_on_record(platform, acme, make):
    """Who, what and when; of an input only that it changed."""
    made = await make(nodeKey="call", input={"word": "secret"})
    await ok(acme.patch(f"/schedules/{made['id']}", json={"intervalMinutes": 7}))
    await ok(acme.post(f"/schedules/{made['id']}/pause"))
    await ok(acme.post(f"/schedules/{made['id']}/resume"))
    await ok(acme.delete(f"/schedules/{made['id']}"))
    records = await platform.rows(
        "SELECT actor, tag, changes FROM audit_records WHERE target_id = %s ORDER BY id",
        uuid.UUID(made["id"]),
    )
    assert [each["tag"].partition(":")[2] for each in records] == [
        *("created", "changed", "paused", "resumed", "deleted")
    ]
    assert {each["actor"] for each in records} == {"tenant:acme"}
    assert "secret" not in str(records)
    assert records[1]["changes"] == {"timing": {"intervalMinutes": 7}}
