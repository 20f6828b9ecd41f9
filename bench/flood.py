"""What a light tenant feels of another one's flood."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.bench import Bench
from bench.light import Wait, light_waits
from bench.pipeline import BATCH
from bench.platform import Platform
from bench.purge import purge
from bench.report import p99
from bench.sample import open_submission, owner_connection, request, submit_many
from runtime.settings import Settings
from runtime.tenancy import Owner

__all__ = ["measure_flood"]

#: Seconds of a job -> how the numbers call it.
_KINDS = {0.0: "0ms", 0.2: "200ms"}
_PROCESSES = 2
#: Seconds that the worker has to be busy with the flood before the light tenant's first run.
_SETTLING = 1.0
#: Light runs below which a flood was over too early to tell anything.
_FEWEST = 5

#: When the flood was over, or now if it is not.
_OVER = """
SELECT extract(epoch FROM CASE WHEN EXISTS (
        SELECT FROM runs WHERE tenant_id = %(tenant)s AND status = 'queued')
    THEN clock_timestamp() ELSE max(started_at) END)::float8 AS at
FROM runs WHERE tenant_id = %(tenant)s
"""


async def measure_flood(bench: Bench) -> None:
    """Note the light tenant's slowest hundredth: idle, and under floods of short and long jobs."""
    platform, sample = bench.platform, await bench.sample("flood")
    noisy, light = sample.owners[:2]
    with platform.working(_PROCESSES):
        idle = p99(_milliseconds(await light_waits(platform, light, bench.sizes.light)))
    bench.note("light_idle_wait_p99_ms", idle)
    ratios = []
    for seconds, name in _KINDS.items():
        await purge(platform)
        await _flood(platform, noisy, bench.sizes.flood, seconds)
        with platform.working(_PROCESSES):
            await asyncio.sleep(_SETTLING)
            waits = await light_waits(platform, light, bench.sizes.light)
            over = await _over(platform.settings, noisy)
        felt = [wait for wait in waits if wait.asked_at < over]
        if len(felt) < _FEWEST:
            raise RuntimeError(f"The flood of {name} jobs ended within {len(felt)} light runs.")
        worst = p99(_milliseconds(felt))
        slots = _PROCESSES * platform.settings.slots
        ratios.append(worst / idle)
        bench.note(f"flood_{name}_light_wait_p99_ms", worst)
        bench.note(f"flood_{name}_light_wait_allowed_ms", 2 * idle + seconds * 1000 / slots)
        bench.note(f"flood_{name}_light_wait_p99_vs_idle", worst / idle)
    bench.note("flood_light_wait_p99_vs_idle", max(ratios))
    await purge(platform)


async def _flood(platform: Platform, owner: Owner, count: int, seconds: float) -> None:
    """Put in a backlog of one tenant, jobs of that many seconds each."""
    wanted = request("sleep", seconds=seconds) if seconds else request("noop")
    async with open_submission(platform, platform.settings) as submission:
        for start in range(0, count, BATCH):
            await submit_many(submission, owner, wanted, min(BATCH, count - start))


async def _over(settings: Settings, noisy: Owner) -> float:
    async with owner_connection(settings) as connection:
        row = await (await connection.execute(_OVER, {"tenant": noisy.tenant_id})).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    return float(row["at"])


def _milliseconds(waits: Sequence[Wait]) -> list[float]:
    return [wait.milliseconds for wait in waits]
