"""A server that is full, or misses its replicas, refuses; nothing is lost and all goes on."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from runtime.clock import monotonic
from runtime.lanes.client import connect
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
async def _refusing(platform, option):
    """Redis takes nothing more, for as long as the block lasts."""
    async with connect(platform.redis_url) as redis:
        before = (await redis.config_get(option))[option]
        await redis.config_set(option, 1)
        try:
            yield
        finally:
            await redis.config_set(option, before)


@pytest.mark.parametrize("option", ["maxmemory", "min-replicas-to-write"])
async def test_a_redis_that_refuses_keeps_no_run_from_being_accepted(
    platform, workspace, acme, at_work, option
):
    """While Redis refuses what is new, runs are accepted at once; then they run, once each."""
    await add_function(platform, workspace.id, "echo")
    async with _refusing(platform, option):
        began = monotonic()
        ids = [await _accepted(acme, number) for number in range(5)]
        assert monotonic() - began < 5
    await _all_ended(platform, ids)
    assert all(process.poll() is None for process in at_work)


async def _accepted(acme, number):
    answer = await acme.post("/actions/echo/run?async=true", json={"input": number})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def _all_ended(platform, ids):
    for run_id in ids:

        async def ended(run_id=run_id):
            (row,) = await platform.rows("SELECT status FROM runs WHERE id = %s", run_id)
            return row["status"] == "completed"

        await eventually(ended, seconds=40)
        records = await platform.rows("SELECT tag FROM activity_records WHERE run_id = %s", run_id)
        assert records == [{"tag": "action:run:completed"}]
