"""A tick has one run, whatever becomes of those who fire it."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime, timedelta

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.lanes.client import connect
from runtime.stamps import MessageStamps
from scheduler.firing import Firing
from tests.api import seeds
from tests.waiting import eventually


async def _many(platform, workspace, acme, count, **times):
    """Write schedules that are due now, and only they; return the flow that they start."""
    await platform.rows("UPDATE schedules SET next_at = NULL RETURNING id")
    tenant = await seeds.tenant_id(acme)
    flow = await seeds.insert(
        platform,
        "elements",
        kind="flow",
        layer="tenant",
        workspace_id=workspace.id,
        tenant_id=tenant,
        key=f"flow-{uuid.uuid4().hex[:8]}",
        spec={"nodes": {"tick": {"type": "schedule-trigger"}}},
    )
    await platform.rows(
        "INSERT INTO schedules (id, workspace_id, tenant_id, kind, element_id, element_key,"
        " node_key, timing, created_at, nominal_at, next_at)"
        " SELECT gen_random_uuid(), %s, %s, 'flow', %s, 'f', 'tick', %s, t, t, t"
        " FROM generate_series(1, %s), date_trunc('second', now()) AS t RETURNING id",
        *(workspace.id, tenant, flow, json.dumps(times), count),
    )
    return flow


async def _ticks(platform, flow):
    """Return the ticks that have a run, by schedule, each as often as it has one."""
    rows = await platform.rows(
        "SELECT request->'launchedBy'->'ids'->>0 AS schedule,"
        " request->'launchedBy'->>'scheduledAt' AS tick FROM runs WHERE element_id = %s",
        flow,
    )
    ticks: dict[str, list[datetime]] = {}
    for row in rows:
        ticks.setdefault(row["schedule"], []).append(datetime.fromisoformat(row["tick"]))
    return {schedule: sorted(each) for schedule, each in ticks.items()}


async def test_three_schedulers_fire_each_tick_once(
    platform, workspace, acme, processes, free_port
):
    """One of them is killed, the clock of another is half a minute fast; no tick is lost."""
    started = [
        await processes.start("scheduler", role="scheduler", port=free_port(), clock=clock)
        for clock in (0.0, 30.0, 0.0)
    ]
    flow = await _many(
        platform, workspace, acme, 40, intervalSeconds=1, overlap="allow", catchUp="all"
    )

    async def reached(least):
        ticks = await _ticks(platform, flow)
        return ticks if len(ticks) == 40 and min(map(len, ticks.values())) >= least else None

    await eventually(lambda: reached(3), seconds=30)
    processes.kill(started[2])
    await eventually(lambda: reached(7), seconds=30)
    processes.kill(started[0])
    await eventually(lambda: reached(10), seconds=30)
    await platform.rows(
        "UPDATE schedules SET next_at = NULL WHERE element_id = %s RETURNING id", flow
    )
    for schedule, ticks in (await _ticks(platform, flow)).items():
        first, last = ticks[0], ticks[-1]
        every = [first + timedelta(seconds=n) for n in range((last - first).seconds + 1)]
        assert ticks == every, schedule
    (counted,) = await platform.rows(
        "SELECT sum(runs) AS runs, sum(skips) AS skips, (SELECT count(*) FROM runs"
        " WHERE element_id = %s) AS made FROM schedules WHERE element_id = %s",
        *(flow, flow),
    )
    assert counted["runs"] == counted["made"]
    assert counted["skips"] == 0


async def test_twenty_thousand_at_once_are_each_run_once(platform, workspace, acme):
    """By three that fire at the same time; what the lane has no room for waits in the table."""
    flow = await _many(platform, workspace, acme, 20_000, cron="0 3 * * *")
    redis = connect(platform.redis_url)
    dispatch = Dispatch(redis, MessageStamps(platform.root))
    roles = ["scheduler", "worker"]
    async with Database(platform.settings, platform.root, roles, size=4) as database:
        firings = [Firing(database, dispatch, backlog=None) for _ in range(3)]
        made = await asyncio.gather(*(firing.fire_all() for firing in firings))
    await redis.aclose()
    assert sum(made) == 20_000
    (found,) = await platform.rows(
        "SELECT count(*) AS runs, count(DISTINCT request->'launchedBy'->'ids') AS schedules,"
        " count(*) FILTER (WHERE sent_at IS NOT NULL) AS sent FROM runs WHERE element_id = %s",
        flow,
    )
    assert found == {"runs": 20_000, "schedules": 20_000, "sent": 2000}
