"""How long a run waits on an idle system, from two moments on to its action's first line.

One is the call that submits it, before anything of it is on disk. The other is the sending of its
message, when it has been accepted: what the queue and the worker take, and what queues without a
durable record of each run have to be compared with.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from bench.bench import Bench
from bench.platform import Platform
from bench.purge import purge
from bench.report import p50, p99
from bench.sample import Sample, began_at, open_submission, request
from runtime.dispatch import Dispatch, Outgoing

__all__ = ["measure_idle"]


class _Noting(Dispatch):
    """A dispatch that notes when it was asked to send, in nanoseconds since 1970."""

    asked_at: ClassVar[dict[UUID, int]] = {}

    async def send(self, runs: Sequence[Outgoing], *, refill: bool = False) -> list[UUID]:
        """Note the moment, and send."""
        moment = time.time_ns()
        self.asked_at.update((run.run_id, moment) for run in runs)
        return await super().send(runs, refill=refill)


async def measure_idle(bench: Bench) -> None:
    """Note the waits of single runs, about one a second."""
    waits = await _waits(bench.platform, await bench.sample("free"), bench.sizes.idle)
    bench.note("idle_start_p50_ms", p50([enqueued for _, enqueued in waits]))
    bench.note("idle_start_p99_ms", p99([enqueued for _, enqueued in waits]))
    bench.note("idle_submit_to_start_p50_ms", p50([submitted for submitted, _ in waits]))
    await purge(bench.platform)


async def _waits(
    platform: Platform, sample: Sample, count: int, *, gap: float = 1.0
) -> list[tuple[float, float]]:
    """Return the milliseconds of `count` starts, one about every `gap` seconds."""
    settings, asked = platform.settings, {}
    with platform.running(platform.worker(settings, 2)):
        async with open_submission(platform, settings, _Noting) as submission:
            # One of each tenant first: what opens connections and plans statements is no wait.
            first = len(sample.owners)
            for number in range(first + count):
                await asyncio.sleep(gap * random.uniform(0.75, 1.25))
                owner = sample.owners[number % len(sample.owners)]
                moment = time.time_ns()
                accepted = await submission.submit(owner, request("clock"))
                if number >= first:
                    asked[accepted.run_id] = moment
            # A run that nobody answered for two gaps would be a defect, not a number.
            await asyncio.sleep(2 * gap)
        began = await began_at(settings, list(asked))
    return [
        ((began[run_id] - moment) / 1e6, (began[run_id] - _Noting.asked_at[run_id]) / 1e6)
        for run_id, moment in asked.items()
    ]
