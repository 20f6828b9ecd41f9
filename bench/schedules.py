"""How late ticks are at a thousand a second, and how long a hundred thousand at once take.

Lateness goes from a tick's nominal time to the moment at which its run is committed and its message
about to be sent. What fires works in this process; no worker takes the machine's time from it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Json
from redis.asyncio import Redis

from bench.bench import Bench
from bench.platform import Platform
from bench.purge import purge
from bench.report import p99
from bench.sample import Sample, owner_connection
from runtime.clock import monotonic, now
from runtime.db import Database
from runtime.dispatch import Dispatch, Outgoing
from runtime.lanes.client import connect
from runtime.settings import Role, Settings
from runtime.stamps import MessageStamps
from scheduler.firing import Firing

__all__ = ["measure_schedules"]

#: Ticks a second, the seconds between two of one schedule, and until the first one.
_RATE, _EVERY, _LEAD = 1_000, 10, 3
_TENANTS = 1_000
_PATIENCE = 300.0

_TENANTS_MORE = """
INSERT INTO tenants (id, workspace_id, key, name)
SELECT gen_random_uuid(), %s, 'scheduled-' || n, 'Scheduled' FROM generate_series(1, %s) AS n
ON CONFLICT DO NOTHING
"""
# Evenly over the seconds of the interval, or all of one moment: `apart` is the seconds between two.
_SCHEDULES = """
INSERT INTO schedules (id, workspace_id, tenant_id, kind, element_id, element_key, timing, input,
    created_at, nominal_at, next_at)
SELECT gen_random_uuid(), t.workspace_id, t.id, 'action', e.id, e.key, %(timing)s, '{}',
    at - interval '1 day', at, at
FROM (SELECT workspace_id, id, row_number() OVER (ORDER BY id) - 1 AS n FROM tenants
      WHERE workspace_id = %(workspace)s AND key LIKE 'scheduled-%%') AS t
JOIN elements AS e ON e.workspace_id = t.workspace_id AND e.kind = 'action' AND e.key = 'noop'
CROSS JOIN generate_series(0, %(each)s - 1) AS k
CROSS JOIN LATERAL (SELECT date_trunc('second', now()) + make_interval(
    secs => %(lead)s + (k * %(tenants)s + t.n) * %(apart)s)) AS due(at)
"""
_DRAINED = """
SELECT sum(runs) AS runs, extract(epoch FROM now() - min(last_scheduled_at))::float8 AS since
FROM schedules
"""
_LEFT = "SELECT count(*) AS left FROM schedules WHERE next_at IS NOT NULL"
_TICKS = """
SELECT id, (request->'launchedBy'->>'scheduledAt')::timestamptz AS at FROM runs
WHERE request ? 'launchedBy'
"""


class _Noting(Dispatch):
    """Notes when it is given each run."""

    def __init__(self, redis: Redis, stamps: MessageStamps) -> None:
        super().__init__(redis, stamps)
        self.given: dict[UUID, datetime] = {}

    async def send(self, runs: Sequence[Outgoing], *, refill: bool = False) -> list[UUID]:
        self.given |= dict.fromkeys((run.run_id for run in runs), now())
        return await super().send(runs, refill=refill)


async def measure_schedules(bench: Bench) -> None:
    """Note the slowest hundredth of ticks, and the seconds that many at once take."""
    platform, sample, sizes = bench.platform, await bench.sample("free"), bench.sizes
    settings = platform.settings
    async with owner_connection(settings) as connection:
        await connection.execute(_TENANTS_MORE, (sample.owners[0].workspace_id, _TENANTS))
    with platform.running(platform.scheduler(settings)):
        await _settled(settings)
        at_once = {"each": sizes.scheduled // _TENANTS, "apart": 0, "lead": _LEAD}
        await _make(settings, sample, {"cron": "0 3 * * *"}, at_once)
        bench.note("schedule_drain_s", await _drained(settings, sizes.scheduled))
    await _forget(settings)
    await purge(platform)
    many = {"each": _RATE * _EVERY // _TENANTS, "apart": 1 / _RATE, "lead": _LEAD}
    end = now() + timedelta(seconds=_LEAD + sizes.scheduled_seconds)
    each = {"intervalSeconds": _EVERY, "overlap": "allow", "catchUp": "all"}
    await _make(settings, sample, {**each, "endAt": end.isoformat()}, many)
    bench.note("schedule_lateness_p99_ms", p99(await _lateness(platform)))
    await _forget(settings)
    await purge(platform)


async def _lateness(platform: Platform) -> list[float]:
    """Return the milliseconds by which ticks were late, once all that there are have a run."""
    settings = platform.settings
    async with AsyncExitStack() as stack:
        roles: list[Role] = ["scheduler", "worker"]
        database = await stack.enter_async_context(Database(settings, platform.root, roles, size=4))
        redis = await stack.enter_async_context(connect(settings.required_redis_url()))
        told = await stack.enter_async_context(
            connect(settings.required_redis_url(), patience=None)
        )
        dispatch = _Noting(redis, MessageStamps(platform.root))
        firing = Firing(database, dispatch, backlog=settings.backlog)
        task = asyncio.create_task(firing.run(told))
        try:
            await _ended(settings)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    async with owner_connection(settings) as connection:
        rows = await (await connection.execute(_TICKS)).fetchall()
    return [(dispatch.given[row["id"]] - row["at"]).total_seconds() * 1000 for row in rows]


async def _ended(settings: Settings) -> None:
    """Wait until no schedule has a tick to come; RuntimeError if that takes minutes."""
    deadline = monotonic() + _PATIENCE
    async with owner_connection(settings) as connection:
        while True:
            await asyncio.sleep(1)
            row = await (await connection.execute(_LEFT)).fetchone()
            if row is not None and row["left"] == 0:
                return
            if monotonic() > deadline:
                raise RuntimeError("Not all ticks were run.")


async def _make(
    settings: Settings, sample: Sample, timing: Mapping[str, Any], how: Mapping[str, Any]
) -> None:
    async with owner_connection(settings) as connection:
        await connection.execute(
            _SCHEDULES,
            {
                **how,
                "timing": Json(timing),
                "workspace": sample.owners[0].workspace_id,
                "tenants": _TENANTS,
            },
        )
        await connection.execute("ANALYZE schedules")


async def _settled(settings: Settings) -> None:
    """Wait until the scheduler has seen to the new tenants."""
    async with owner_connection(settings) as connection:
        while True:
            cursor = await connection.execute("SELECT count(*) AS left FROM trigger_changes")
            row = await cursor.fetchone()
            if row is None or row["left"] == 0:
                return
            await asyncio.sleep(0.1)


async def _drained(settings: Settings, count: int) -> float:
    """Return the seconds from the moment of the ticks until all have a run; RuntimeError if not."""
    deadline = monotonic() + _PATIENCE
    async with owner_connection(settings) as connection:
        while True:
            row = await (await connection.execute(_DRAINED)).fetchone()
            if row is not None and row["runs"] == count:
                return float(row["since"])
            if monotonic() > deadline:
                raise RuntimeError(f"Of {count} ticks {row and row['runs']} have a run.")
            await asyncio.sleep(0.2)  # the question itself costs a look at all of them


async def _forget(settings: Settings) -> None:
    async with owner_connection(settings) as connection:
        await connection.execute("TRUNCATE schedules")
