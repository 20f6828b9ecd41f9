"""What a worker that has nothing to do costs."""

from __future__ import annotations

import asyncio

from bench.bench import Bench
from bench.cpu import python_seconds

__all__ = ["measure_rest"]

#: Seconds that a worker has to come to rest after its start.
_SETTLING = 3.0


async def measure_rest(bench: Bench) -> None:
    """Note the CPU time of one idle worker process and its master, in percent of a core."""
    platform, seconds = bench.platform, bench.sizes.rest_seconds
    with platform.running(platform.worker(platform.settings, 1)):
        await asyncio.sleep(_SETTLING)
        before = python_seconds()
        await asyncio.sleep(seconds)
        used = python_seconds() - before
    if used <= 0:
        raise RuntimeError("An idle worker's CPU time was not seen: it beats once in a while.")
    bench.note("idle_worker_cpu_percent", used / seconds * 100)
