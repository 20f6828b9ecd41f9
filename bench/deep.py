"""A deep backlog: a million runs of one tenant, and what it does to everybody else."""

from __future__ import annotations

import asyncio
import statistics
from datetime import datetime

from bench.bench import Bench
from bench.light import light_waits
from bench.pipeline import BATCH
from bench.platform import Platform
from bench.purge import purge
from bench.report import p50, p99
from bench.sample import open_submission, owner_connection, request, submit_many
from runtime.clock import monotonic, now
from runtime.lanes.client import connect
from runtime.settings import Settings
from runtime.tenancy import Owner

__all__ = ["measure_deep"]

_PROCESSES = 2
#: Batches at the start and at the end of the backlog whose time is compared.
_COMPARED = 20
_SETTLING = 2.0


async def measure_deep(bench: Bench) -> None:
    """Note what accepting, keeping and draining a deep backlog costs, and a light tenant's wait."""
    platform, settings = bench.platform, bench.platform.settings
    deep, light = (await bench.sample("deep")).owners[:2]
    before = await _redis_megabytes(settings)
    took = await _accept(platform, deep, bench.sizes.deep)
    some = min(_COMPARED, len(took) // 3)  # never the same ones twice
    bench.note("deep_accept_first_ms_per_1000", statistics.median(took[:some]))
    bench.note("deep_accept_last_ms_per_1000", statistics.median(took[-some:]))
    bench.note("deep_redis_mb", await _redis_megabytes(settings) - before)
    with platform.working(_PROCESSES):
        await asyncio.sleep(_SETTLING)
        since = now()
        await asyncio.sleep(bench.sizes.deep_seconds)
        until = now()
        felt = await light_waits(platform, light, bench.sizes.light)
    # Counted when all is still, so that the count itself slows nothing down.
    done = await _done(settings, deep, since, until)
    bench.note("deep_drain_per_s", done / (until - since).total_seconds())
    waits = [wait.milliseconds for wait in felt]
    bench.note("deep_light_wait_p50_ms", p50(waits))
    bench.note("deep_light_wait_p99_ms", p99(waits))
    await purge(platform)


async def _accept(platform: Platform, owner: Owner, count: int) -> list[float]:
    """Put the backlog in; return the milliseconds that each thousand took."""
    took = []
    async with open_submission(platform, platform.settings) as submission:
        await submission.submit(owner, request("noop"))  # connects
        for _ in range(count // BATCH):
            began = monotonic()
            await submit_many(submission, owner, request("noop"), BATCH)
            took.append((monotonic() - began) * 1000)
    return took


async def _done(settings: Settings, owner: Owner, since: datetime, until: datetime) -> int:
    """Return the runs done between two moments. Raises RuntimeError if none are left by now."""
    async with owner_connection(settings) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FILTER (WHERE finished_at >= %s AND finished_at < %s) AS done,"
            " count(*) FILTER (WHERE status = 'queued') AS waiting"
            " FROM runs WHERE tenant_id = %s",
            (since, until, owner.tenant_id),
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - a count has one row
    if row["waiting"] == 0:
        raise RuntimeError("The deep backlog ended before the measurement did.")
    return int(row["done"])


async def _redis_megabytes(settings: Settings) -> float:
    async with connect(settings.required_redis_url()) as client:
        return float((await client.info("memory"))["used_memory"]) / 1e6
