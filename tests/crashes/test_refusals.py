"""What is full, read-only or out of places refuses for a while; nothing is lost and all goes on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import psycopg
import pytest

from runtime.clock import monotonic
from runtime.lanes.client import Lanes, connect
from runtime.lanes.inspection import depth
from tests.samples import add_function
from tests.waiting import eventually


@pytest.fixture
async def at_work(processes, free_port):
    """A worker and a scheduler."""
    return [
        await processes.start("worker", role="worker", port=free_port()),
        await processes.start("scheduler", role="scheduler", port=free_port()),
    ]


@asynccontextmanager
async def _full(platform):
    """Redis takes nothing more, for as long as the block lasts."""
    async with connect(platform.redis_url) as redis:
        before = (await redis.config_get("maxmemory"))["maxmemory"]
        await redis.config_set("maxmemory", 1)
        try:
            yield
        finally:
            await redis.config_set("maxmemory", before)


@asynccontextmanager
async def _altered(platform, role, change, undo):
    """A role of PostgreSQL is changed and its sessions are ended, for as long as it lasts."""
    async with await psycopg.AsyncConnection.connect(platform.admin_url, autocommit=True) as admin:

        async def alter(what):
            await admin.execute(f"ALTER ROLE vesicle_{role} {what}")
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                (f"vesicle_{role}",),
            )

        await alter(change)
        try:
            yield
        finally:
            await alter(undo)


async def test_a_full_redis_keeps_no_run_from_being_accepted(platform, workspace, acme, at_work):
    """While Redis refuses what is new, runs are accepted at once; then they run, once each."""
    await add_function(platform, workspace.id, "echo")
    async with _full(platform):
        began = monotonic()
        ids = [await _accepted(acme, number) for number in range(5)]
        assert monotonic() - began < 5
    await _all_ended(platform, ids)
    assert all(process.poll() is None for process in at_work)


async def test_a_worker_without_places_in_postgresql_goes_on_later(
    platform, workspace, acme, at_work
):
    """While PostgreSQL lets no worker in, runs wait; no process ends, and each run is done once."""
    await add_function(platform, workspace.id, "echo")
    async with _altered(platform, "worker", "CONNECTION LIMIT 0", "CONNECTION LIMIT -1"):
        ids = [await _accepted(acme, number) for number in range(5)]
        await eventually(partial(_is_taken, platform))
    await _all_ended(platform, ids)
    assert all(process.poll() is None for process in at_work)


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
    ],
)
async def test_submission_says_that_it_cannot_and_accepts_nothing(
    platform, workspace, acme, change, undo
):
    """Without places, or read-only, submission answers 503 with Retry-After and writes nothing."""
    await add_function(platform, workspace.id, "echo")
    await _accepted(acme, 0)
    before = await _count(platform, workspace)
    async with _altered(platform, "runtime", change, undo):
        answer = await acme.post("/actions/echo/run?async=true", json={"input": 1})
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["type"]
    assert await _count(platform, workspace) == before

    async def accepts():
        answer = await acme.post("/actions/echo/run?async=true", json={"input": 2})
        return answer.status_code == 202

    await eventually(accepts, seconds=30)


async def _accepted(acme, number):
    answer = await acme.post("/actions/echo/run?async=true", json={"input": number})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def _count(platform, workspace):
    (row,) = await platform.rows(
        "SELECT count(*) AS runs FROM runs WHERE workspace_id = %s", workspace.id
    )
    return row["runs"]


async def _is_taken(platform):
    """Return whether a worker has fetched a message that it cannot claim."""
    async with connect(platform.redis_url) as redis:
        found = await Lanes(redis, "default").run(depth())
    return found.held > 0 or found.delayed > 0


async def _all_ended(platform, ids):
    for run_id in ids:

        async def ended(run_id=run_id):
            (row,) = await platform.rows("SELECT status FROM runs WHERE id = %s", run_id)
            return row["status"] == "completed"

        await eventually(ended, seconds=40)
        records = await platform.rows("SELECT tag FROM activity_records WHERE run_id = %s", run_id)
        assert records == [{"tag": "action:run:completed"}]


async def test_connections_that_the_server_closed_are_no_callers_trouble(
    platform, workspace, manager, acme
):
    """After PostgreSQL has ended all sessions, the next requests are served as if nothing were."""
    await add_function(platform, workspace.id, "echo")
    await _accepted(acme, 0)
    for role in ("runtime", "manager", "authenticator"):
        async with _altered(platform, role, "CONNECTION LIMIT -1", "CONNECTION LIMIT -1"):
            pass
    for _ in range(10):
        assert (await acme.get("/actions")).status_code == 200
        assert (await manager.get("/actions")).status_code == 200
        await _accepted(acme, 1)
