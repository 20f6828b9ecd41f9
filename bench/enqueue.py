"""How fast runs are accepted: one at a time, and many at once."""

from __future__ import annotations

from bench.pipeline import BATCH
from bench.platform import Platform
from bench.sample import Sample, open_submission, request
from runtime.clock import monotonic

__all__ = ["enqueue_bulk", "enqueue_single"]


async def enqueue_single(platform: Platform, sample: Sample, count: int) -> float:
    """Return runs per second of a caller that waits for each to be accepted."""
    async with open_submission(platform, platform.settings) as submission:
        await submission.submit(sample.owners[0], request("noop", "bulk"))  # connects
        began = monotonic()
        for number in range(count):
            owner = sample.owners[number % len(sample.owners)]
            await submission.submit(owner, request("noop", "bulk"))
        return count / (monotonic() - began)


async def enqueue_bulk(platform: Platform, sample: Sample, batches: int) -> float:
    """Return runs per second of a caller that submits a thousand at once."""
    async with open_submission(platform, platform.settings) as submission:
        await submission.submit(sample.owners[0], request("noop", "bulk"))  # connects
        began = monotonic()
        for number in range(batches):
            owner = sample.owners[number % len(sample.owners)]
            await submission.submit_many(owner, [request("noop", "bulk")] * BATCH)
        return batches * BATCH / (monotonic() - began)
