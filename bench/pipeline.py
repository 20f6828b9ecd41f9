"""How fast worker processes work off a backlog of runs, the whole pipeline included."""

from __future__ import annotations

import asyncio
import itertools
from uuid import UUID

from bench.platform import Platform
from bench.sample import Sample, open_submission, owner_connection, request
from runtime.clock import monotonic
from runtime.lanes.client import Lanes, connect
from runtime.lanes.operations import depth
from runtime.settings import Settings

__all__ = ["BATCH", "drain", "fill", "work_off"]

#: Runs that are submitted at once.
BATCH = 1000
_QUEUE = "default"
_PATIENCE = 180.0
_PROCESSES = 2

_RATE = """
WITH ended AS (
    SELECT finished_at, row_number() OVER (ORDER BY finished_at) AS place, count(*) OVER () AS total
    FROM runs WHERE id >= %s AND status = 'completed'
)
SELECT max(total) AS total,
    count(*) FILTER (WHERE place > 0.1 * total)
    / extract(epoch FROM max(finished_at) - min(finished_at) FILTER (WHERE place > 0.1 * total))
    AS rate
FROM ended
"""


async def fill(
    platform: Platform, settings: Settings, sample: Sample, action: str, count: int
) -> UUID:
    """Submit runs, the tenants taking turns by batches; return the first one's id."""
    first: UUID | None = None
    turns = itertools.cycle(sample.owners)
    size = min(BATCH, max(1, count // len(sample.owners)))
    async with open_submission(platform, settings) as submission:
        for start in range(0, count, size):
            wanted = [request(action, _QUEUE)] * min(size, count - start)
            accepted = await submission.submit_many(next(turns), wanted)
            first = first or accepted[0].run_id
    assert first is not None  # noqa: S101 - a backlog is never empty
    return first


async def drain(
    platform: Platform, settings: Settings, sample: Sample, action: str, count: int
) -> float:
    """Return runs per second over the last nine tenths of a backlog of `count`."""
    first = await fill(platform, settings, sample, action, count)
    return await work_off(platform, settings, first, count)


async def work_off(platform: Platform, settings: Settings, first: UUID, count: int) -> float:
    """Return runs per second over the last nine tenths of the runs from `first` on.

    The times are those that PostgreSQL wrote with each result. Raises RuntimeError unless every run
    has completed, and left its activity record.
    """
    with platform.running(platform.worker(settings, _PROCESSES)):
        await _until_empty(settings)
    return await _rate(settings, first, count)


async def _until_empty(settings: Settings) -> None:
    deadline = monotonic() + _PATIENCE
    async with connect(settings.required_redis_url()) as client:
        while (await Lanes(client, _QUEUE).run(depth())).total:
            if monotonic() > deadline:
                raise RuntimeError("The workers did not finish the backlog.")
            await asyncio.sleep(0.05)


async def _rate(settings: Settings, first: UUID, count: int) -> float:
    async with owner_connection(settings) as connection:
        row = await (await connection.execute(_RATE, (first,))).fetchone()
        records = await (
            await connection.execute(
                "SELECT count(*) AS total FROM activity_records WHERE run_id >= %s", (first,)
            )
        ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    assert records is not None  # noqa: S101 - the same
    if row["total"] != count or records["total"] != count:
        raise RuntimeError(
            f"Of {count} runs {row['total']} completed, with {records['total']} activity records."
        )
    return float(row["rate"])
