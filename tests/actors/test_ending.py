"""What happens to a run between its end and the record of it."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from runtime.clock import now
from runtime.db import Database
from runtime.runs.holder import Holder
from runtime.runs.states import Claim
from runtime.tenancy import Owner


@pytest.fixture
async def holder(platform):
    """A worker's holder of runs."""
    async with Database(platform.settings, platform.root, ["worker"]) as database:
        yield Holder(database, lease=30.0)


def _claim() -> Claim:
    """A claim whose row a renewal does not find, as it is when the run has just ended."""
    return Claim(
        run_id=uuid.uuid4(),
        owner=Owner(uuid.uuid4(), uuid.uuid4()),
        lease_token=uuid.uuid4(),
        kind="action",
        input=None,
        request={},
        meta=None,
        element_id=None,
        element_key=None,
        integration_id=None,
        connection_id=None,
        attempt=1,
        takeovers=0,
        parks=0,
        queue="default",
        called_at=None,
        started_at=now(),
        obstacle=None,
    )


async def test_a_run_whose_end_is_being_written_is_not_taken_for_lost(holder):
    """A renewal that meets a run which has ended meanwhile does not cancel its last steps."""

    async def work():
        with holder.holding(_claim()) as held:
            held.ending = True
            await holder._renew([held])
            return held.interrupted

    assert await asyncio.create_task(work()) is None


async def test_a_run_that_somebody_else_has_is_interrupted(holder):
    """A renewal that does not find a run at work stops the work at once."""

    async def work():
        with holder.holding(_claim()) as held:
            try:
                await holder._renew([held])
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                return held.interrupted

    assert await asyncio.create_task(work()) == "superseded"
