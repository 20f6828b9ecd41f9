"""How long a run waits on an idle system: from the call that submits it to its first line."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from uuid import UUID

from bench.platform import Platform
from bench.sample import Sample, open_submission, owner_connection, request
from launch.embedded.access import choose_port
from runtime.settings import Settings

__all__ = ["idle_starts"]


async def idle_starts(
    platform: Platform, sample: Sample, count: int, *, gap: float = 1.0
) -> list[float]:
    """Return the milliseconds of `count` starts, one about every `gap` seconds."""
    settings, waits = platform.settings, []
    worker = platform.worker(settings, 2, health_port=choose_port())
    with platform.running(worker):
        async with open_submission(platform, settings) as submission:
            for number in range(count + 1):
                await asyncio.sleep(gap * random.uniform(0.75, 1.25))
                owner = sample.owners[number % len(sample.owners)]
                asked = time.time_ns()
                accepted = await submission.submit(owner, request("clock"))
                waits.append((accepted.run_id, asked))
            # A run that nobody answered for two gaps would be a defect, not a number.
            await asyncio.sleep(2 * gap)
        return await _milliseconds(settings, waits[1:])  # the first one opened connections


async def _milliseconds(settings: Settings, waits: Sequence[tuple[UUID, int]]) -> list[float]:
    async with owner_connection(settings) as connection:
        cursor = await connection.execute(
            "SELECT id, (output->>'at')::bigint AS at FROM runs WHERE id = ANY(%s)"
            " AND status = 'completed'",
            ([run_id for run_id, _ in waits],),
        )
        began = {row["id"]: row["at"] for row in await cursor.fetchall()}
    if len(began) != len(waits):
        raise RuntimeError(f"Of {len(waits)} single runs {len(began)} completed.")
    return [(began[run_id] - asked) / 1e6 for run_id, asked in waits]
