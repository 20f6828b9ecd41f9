"""A light tenant: few runs, submitted at fixed moments however slowly the earlier ones go."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from bench.platform import Platform
from bench.sample import began_at, open_submission, owner_connection, request
from runtime.clock import monotonic
from runtime.settings import Settings
from runtime.tenancy import Owner

__all__ = ["Wait", "light_waits"]

#: Seconds between two runs: closer than the one a second of a light tenant, so that a hundredth of
#: them can be told in the time for which a flood lasts, and still far from any load.
_GAP = 0.2
#: Seconds in which the last one must have ended.
_PATIENCE = 60.0
_OPEN = "SELECT FROM runs WHERE id = ANY(%s) AND status IN ('queued', 'running') LIMIT 1"


@dataclass(frozen=True)
class Wait:
    """One run: when it was asked for, in seconds since 1970, and its wait in milliseconds."""

    asked_at: float
    milliseconds: float


async def light_waits(platform: Platform, owner: Owner, count: int) -> list[Wait]:
    """Submit `count` runs, one each `_GAP` seconds; return how long each waited for its first line.

    The wait begins with the call that submits it, so it includes being accepted.
    """
    settings = platform.settings
    asked: dict[UUID, int] = {}
    async with open_submission(platform, settings) as submission:

        async def submit(number: int) -> None:
            moment = time.time_ns()
            accepted = await submission.submit(owner, request("clock"))
            if number > 0:  # the first one opened connections
                asked[accepted.run_id] = moment

        first, calls = monotonic(), []
        for number in range(count + 1):
            await asyncio.sleep(first + number * _GAP - monotonic())
            calls.append(asyncio.create_task(submit(number)))
        await asyncio.gather(*calls)
    await _until_done(settings, list(asked))
    began = await began_at(settings, list(asked))
    return [Wait(moment / 1e9, (began[run_id] - moment) / 1e6) for run_id, moment in asked.items()]


async def _until_done(settings: Settings, run_ids: list[UUID]) -> None:
    deadline = monotonic() + _PATIENCE
    async with owner_connection(settings) as connection:
        while await (await connection.execute(_OPEN, (run_ids,))).fetchone() is not None:
            if monotonic() > deadline:
                raise RuntimeError(f"A light tenant's runs did not end within {_PATIENCE:.0f} s.")
            await asyncio.sleep(0.1)
