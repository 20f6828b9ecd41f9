"""A tenant's backlog: bounded, with its head in the queue and the rest in the table."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.lanes.client import Lanes, connect
from runtime.lanes.inspection import lane_depth
from runtime.stamps import MessageStamps
from scheduler.due import send_due
from scheduler.refill import Refiller
from scheduler.relay import Relay
from tests.samples import add_function
from tests.waiting import eventually


class Yard:
    """A workspace without a worker, and what the scheduler would do about it."""

    def __init__(self, platform, redis, database, workspace, owner):
        self.platform, self.redis, self.workspace, self.owner = platform, redis, workspace, owner
        dispatch = Dispatch(redis, MessageStamps(platform.root))
        self.refiller = Refiller(database, redis, redis, dispatch)
        self.relay = Relay(database, redis, dispatch)
        self._database, self._dispatch = database, dispatch

    async def lane(self, queue="bulk"):
        """Return how acme's lane looks."""
        workspace, tenant = str(self.owner["workspace_id"]), str(self.owner["id"])
        return await Lanes(self.redis, queue).run(lane_depth(workspace, tenant))

    async def send_due(self):
        """Do the scheduler's duty about runs that wait for long."""
        return await send_due(self._database, self._dispatch)

    async def unsent(self):
        """Count the runs that wait in the table."""
        (row,) = await self.platform.rows(
            "SELECT count(*) AS n FROM runs WHERE tenant_id = %s AND status = 'queued'"
            " AND sent_at IS NULL",
            self.owner["id"],
        )
        return row["n"]


@pytest.fixture
async def yard(platform, workspace, acme):
    """The yard; nobody works on its runs unless a test asks for the worker too."""
    await add_function(platform, workspace.id, "echo")
    assert (await acme.get("/runs")).status_code == 200
    (owner,) = await platform.rows(
        "SELECT id, workspace_id FROM tenants WHERE workspace_id = %s AND key = 'acme'",
        workspace.id,
    )
    async with (
        Database(platform.settings, platform.root, ["scheduler"], size=4) as database,
        connect(platform.redis_url) as redis,
    ):
        yield Yard(platform, redis, database, workspace, owner)


async def _submit(caller, count, **more):
    body = {"runs": [{"action": "echo", "input": number, **more} for number in range(count)]}
    answer = await caller.post("/runs", json=body)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def _cap(manager, amount, **subject):
    body = {"state": "queued", "scope": "tenant", "amount": amount, **subject}
    answer = await manager.put("/caps", json=body)
    assert answer.status_code < 300, answer.text


async def test_a_full_backlog_refuses_and_says_when_to_come_again(yard, acme, globex, manager):
    """Past the cap submission answers 429 with depth, cap and Retry-After; others go on."""
    await _cap(manager, 5)

    fitting = await asyncio.gather(
        *(acme.post("/actions/echo/run?async=true", json={"input": 1}) for _ in range(5))
    )
    refused = await acme.post("/actions/echo/run?async=true", json={"input": 1})
    beside = await globex.post("/actions/echo/run?async=true", json={"input": 1})

    assert {answer.status_code for answer in fitting} == {202}
    assert refused.status_code == 429
    assert refused.json()["key"] == "backlog_full"
    assert (refused.json()["data"]["depth"], refused.json()["data"]["cap"]) == (5, 5)
    assert int(refused.headers["retry-after"]) >= 1
    assert beside.status_code == 202
    await _cap(manager, 6)

    async def welcome():
        answer = await acme.post("/actions/echo/run?async=true", json={"input": 1})
        return answer.status_code == 202

    await eventually(welcome)


async def test_many_at_once_are_accepted_as_far_as_they_fit(yard, acme, manager):
    """Of one call the first items fit and the rest are refused; if none fits, the answer is 429."""
    await _cap(manager, 4)
    body = {"runs": [{"action": "echo", "input": number} for number in range(6)]}

    first = (await acme.post("/runs", json=body)).json()
    second = await acme.post("/runs", json=body)

    assert (first["accepted"], first["refused"]) == (4, 2)
    assert [item["error"]["key"] for item in first["items"][4:]] == ["backlog_full"] * 2
    assert second.status_code == 429
    assert "retry-after" in second.headers


async def test_only_the_head_of_a_backlog_is_in_the_queue(yard, acme):
    """What a lane has no room for waits in the table, and nothing newer overtakes it."""
    first = await _submit(acme, 2500)
    lane = await yard.lane()
    assert lane.deep
    assert lane.queued + await yard.unsent() == 2500
    assert lane.queued <= 2200

    later = await _submit(acme, 10)
    urgent = await _submit(acme, 1, priority=5)

    rows = await yard.platform.rows(
        "SELECT id::text FROM runs WHERE id = ANY(%s::uuid[]) AND sent_at IS NULL",
        [*later, *urgent],
    )
    assert {row["id"] for row in rows} == set(later)
    assert (await yard.lane()).queued == lane.queued + 1
    assert len(first) == 2500


async def test_a_lane_is_topped_up_until_nothing_is_left(yard, acme, worker):
    """With a worker and a refiller a backlog that is deeper than its lane ends, every run once."""
    refilling = asyncio.create_task(_keep_refilling(yard))
    try:
        await _submit(acme, 4000)

        async def done():
            (row,) = await yard.platform.rows(
                "SELECT count(*) AS n FROM runs WHERE tenant_id = %s AND status = 'completed'",
                yard.owner["id"],
            )
            return row["n"] == 4000

        await eventually(done, seconds=60)
    finally:
        refilling.cancel()
    (row,) = await yard.platform.rows(
        "SELECT count(*) AS n, count(DISTINCT run_id) AS runs FROM activity_records"
        " WHERE tenant_id = %s",
        yard.owner["id"],
    )
    assert (row["n"], row["runs"]) == (4000, 4000)


async def _keep_refilling(yard):
    while True:
        await yard.refiller.refill()
        await asyncio.sleep(0.02)


async def test_a_backlog_of_which_nobody_spoke_is_found(yard, acme):
    """Rows that wait behind a lane that knows nothing of them are found and sent."""
    await _submit(acme, 3)
    await yard.platform.rows(
        "UPDATE runs SET sent_at = NULL WHERE tenant_id = %s RETURNING id", yard.owner["id"]
    )
    await yard.redis.flushdb()

    assert await yard.refiller.find_deep() >= 1
    await yard.refiller.refill()

    assert (await yard.lane()).queued == 3
    assert await yard.unsent() == 0


async def test_an_emptied_redis_has_its_messages_again(yard, acme):
    """After FLUSHALL everything that was queued is sent again at once, and delayed runs too."""
    await yard.relay.relay()
    runs = await _submit(acme, 300)
    await yard.redis.flushdb()

    assert await yard.relay.relay() >= 300

    assert (await yard.lane()).queued == 300
    assert len(runs) == 300


async def test_what_waits_for_long_is_sent_ahead_of_its_time(yard, acme):
    """A run that is due in a minute is not sent yet; one that is due in 20 s is, with a delay."""
    soon, late = await _submit(acme, 2)
    await yard.redis.flushdb()
    for run_id, seconds in ((soon, 20), (late, 60)):
        await yard.platform.rows(
            "UPDATE runs SET sent_at = NULL, due_at = now() + make_interval(secs => %s)"
            " WHERE id = %s RETURNING id",
            *(seconds, run_id),
        )

    await yard.send_due()

    lane = await yard.lane()
    assert (lane.delayed, lane.queued) == (1, 0)
    rows = await yard.platform.rows(
        "SELECT id::text, sent_at FROM runs WHERE id = ANY(%s::uuid[])", [soon, late]
    )
    sent = {row["id"]: row["sent_at"] for row in rows}
    assert sent[soon] is not None
    assert sent[late] is None


async def test_a_run_says_why_it_waits(yard, acme, globex, manager):
    """Its place in the lane, the missing worker, the moment it waits for, the archived action."""
    first, second = await _submit(acme, 2)
    why = (await acme.get(f"/runs/{second}/why")).json()
    assert why["status"] == "queued"
    assert why["position"] == 2
    reasons = {reason["reason"] for reason in why["reasons"]}
    assert "queue" in reasons
    assert (await globex.get(f"/runs/{second}/why")).status_code == 404

    await yard.platform.rows(
        "UPDATE runs SET due_at = now() + interval '1 hour', sent_at = NULL,"
        """ waiting = '{"reason": "rate_limited", "error": {"type": "connection"}}'"""
        " WHERE id = %s RETURNING id",
        first,
    )
    why = (await acme.get(f"/runs/{first}/why")).json()
    assert [reason["reason"] for reason in why["reasons"]] == ["rate_limited"]
    assert why["nextChanceAt"]

    assert (await manager.delete("/actions/echo")).status_code < 300
    why = (await acme.get(f"/runs/{second}/why")).json()
    assert "element_archived" in {reason["reason"] for reason in why["reasons"]}
    assert (await acme.get(f"/runs/{uuid.uuid4()}/why")).status_code == 404


async def test_a_run_that_has_ended_says_so(yard, acme, worker):
    """Of an ended run the question is answered too, with its error if it failed."""
    (run_id,) = await _submit(acme, 1)
    assert (await acme.get(f"/runs/{run_id}?wait=10")).json()["status"] == "completed"
    why = (await acme.get(f"/runs/{run_id}/why")).json()
    assert [reason["reason"] for reason in why["reasons"]] == ["completed"]
