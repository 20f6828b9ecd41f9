"""How long a run waits on an idle system: from the call that submits it to its first line."""

from __future__ import annotations

import asyncio
import random
import time

from bench.bench import Bench
from bench.platform import Platform
from bench.purge import purge
from bench.report import p50, p99
from bench.sample import Sample, began_at, open_submission, request

__all__ = ["measure_idle"]


async def measure_idle(bench: Bench) -> None:
    """Note the waits of single runs, about one a second."""
    waits = await _waits(bench.platform, await bench.sample("free"), bench.sizes.idle)
    bench.note("idle_start_p50_ms", p50(waits))
    bench.note("idle_start_p99_ms", p99(waits))
    await purge(bench.platform)


async def _waits(
    platform: Platform, sample: Sample, count: int, *, gap: float = 1.0
) -> list[float]:
    """Return the milliseconds of `count` starts, one about every `gap` seconds."""
    settings, asked = platform.settings, {}
    with platform.running(platform.worker(settings, 2)):
        async with open_submission(platform, settings) as submission:
            for number in range(count + 1):
                await asyncio.sleep(gap * random.uniform(0.75, 1.25))
                owner = sample.owners[number % len(sample.owners)]
                moment = time.time_ns()
                accepted = await submission.submit(owner, request("clock"))
                if number > 0:  # the first one opened connections
                    asked[accepted.run_id] = moment
            # A run that nobody answered for two gaps would be a defect, not a number.
            await asyncio.sleep(2 * gap)
        began = await began_at(settings, list(asked))
    return [(began[run_id] - moment) / 1e6 for run_id, moment in asked.items()]
