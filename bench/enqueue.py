"""How fast runs are accepted: by one caller, by many callers, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.bench import Bench
from bench.pipeline import BATCH
from bench.purge import purge
from bench.sample import Sample, open_submission, request, submit_many
from runtime.clock import monotonic
from runtime.submission import Submission

__all__ = ["measure_enqueue"]

#: Callers that each wait for their own run to be accepted, and the tenants for whom they call.
_CALLERS, _TENANTS = 32, 4


async def measure_enqueue(bench: Bench) -> None:
    """Note runs accepted a second; one API process's parts, without HTTP."""
    platform, sample, sizes = bench.platform, await bench.sample("free"), bench.sizes
    async with open_submission(platform, platform.settings) as submission:
        await _by_many(submission, sample, _CALLERS * 2)  # opens connections
        bench.note(
            "enqueue_sequential_per_s", await _one_by_one(submission, sample, sizes.sequential)
        )
        bench.note("enqueue_single_per_s", await _by_many(submission, sample, sizes.single))
        bench.note("enqueue_bulk_per_s", await _in_bulk(submission, sample, sizes.bulk))
    await purge(platform)


async def _one_by_one(submission: Submission, sample: Sample, count: int) -> float:
    began = monotonic()
    for number in range(count):
        await submission.submit(sample.owners[number % _TENANTS], request("noop"))
    return count / (monotonic() - began)


async def _by_many(submission: Submission, sample: Sample, count: int) -> float:
    numbers = iter(range(count))

    async def call(mine: Iterator[int]) -> None:
        for number in mine:
            await submission.submit(sample.owners[number % _TENANTS], request("noop"))

    began = monotonic()
    await asyncio.gather(*(call(numbers) for _ in range(_CALLERS)))
    return count / (monotonic() - began)


async def _in_bulk(submission: Submission, sample: Sample, batches: int) -> float:
    began = monotonic()
    for number in range(batches):
        owner = sample.owners[number % _TENANTS]
        await submit_many(submission, owner, request("noop"), BATCH)
    return batches * BATCH / (monotonic() - began)
