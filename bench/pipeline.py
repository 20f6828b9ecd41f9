"""How fast worker processes work off a backlog of runs, the whole pipeline included."""

from __future__ import annotations

import asyncio
import itertools
from uuid import UUID

from bench.bench import Bench
from bench.platform import Platform
from bench.purge import purge
from bench.sample import Sample, open_submission, owner_connection, request, submit_many
from runtime.clock import monotonic
from runtime.lanes.client import Lanes, connect
from runtime.lanes.operations import depth
from runtime.settings import Settings

__all__ = ["BATCH", "drain", "fill", "measure_pipelines", "until_done", "work_off"]

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

_UNDONE = "SELECT FROM runs WHERE id >= %s AND status IN ('queued', 'running') LIMIT 1"


async def measure_pipelines(bench: Bench) -> None:
    """Note how fast runs are worked off: with and without row security, notes and limits."""
    platform, count = bench.platform, bench.sizes.pipeline
    secured, opened = platform.settings, platform.unsecured
    free, limited = await bench.sample("free"), await bench.sample("limited")
    kinds = [
        ("pipeline_per_s", secured, free, "noop"),
        ("pipeline_unsecured_per_s", opened, await bench.sample("unsecured"), "noop"),
        ("pipeline_noted_per_s", secured, free, "noop-once"),
        ("pipeline_limited_per_s", secured, limited, "noop"),
    ]
    # Each round begins elsewhere, so that none of them always follows the same one.
    first = bench.number % len(kinds)
    for name, where, sample, action in kinds[first:] + kinds[:first]:
        bench.note(name, await drain(platform, where, sample, action, count))


async def fill(
    platform: Platform, settings: Settings, sample: Sample, action: str, count: int
) -> UUID:
    """Submit runs, the tenants taking turns by batches; return the first one's id."""
    first: UUID | None = None
    turns = itertools.cycle(sample.owners)
    size = min(BATCH, max(1, count // len(sample.owners)))
    async with open_submission(platform, settings) as submission:
        for start in range(0, count, size):
            wanted = request(action, _QUEUE)
            accepted = await submit_many(submission, next(turns), wanted, min(size, count - start))
            first = first or accepted[0]
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
    worker = platform.worker(settings, _PROCESSES, is_awaited=False)
    with platform.running(platform.scheduler(settings)), platform.running(worker):
        await until_done(settings, first)
    rate = await _rate(settings, first, count)
    await purge(platform)
    return rate


async def until_done(settings: Settings, first: UUID) -> None:
    """Wait for an empty queue, then for the table to agree: the queue may hold a part only."""
    deadline = monotonic() + _PATIENCE
    async with (
        connect(settings.required_redis_url()) as client,
        owner_connection(settings) as connection,
    ):
        while True:
            if not (await Lanes(client, _QUEUE).run(depth())).total:
                cursor = await connection.execute(_UNDONE, (first,))
                if await cursor.fetchone() is None:
                    return
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
