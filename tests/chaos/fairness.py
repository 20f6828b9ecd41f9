"""Fairness (I16): a light tenant beside another's flood."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from tests.chaos.processes import SLOTS
from tests.chaos.scene import ECHO, SLEEP
from tests.chaos.trials import Trial, run_of
from tests.chaos.verdict import Verdict
from tests.waiting import eventually

__all__ = ["fairness", "p95"]

#: Runs of the flood, the seconds that each sleeps on average, and the light tenant's runs, in each
#: half.
_FLOOD, _JOB, _LIGHT = 300, 1.0, 30
#: Seconds between two of the light tenant's runs.
_PACE = 0.1


async def fairness(trial: Trial) -> list[Verdict]:
    """Compare how long a light tenant's runs wait before and during another's flood."""
    idle = await _waits(trial, await _light(trial))
    await _flood(trial)
    under_way = asyncio.create_task(_busy_slots(trial))
    runs = await _light(trial)
    left = await trial.database.count(
        "SELECT count(*) FROM runs WHERE status = 'queued' AND element_key = %s", SLEEP.key
    )
    under_way.cancel()
    busy = await under_way or [0]
    flooded = await _waits(trial, runs)
    mark = 2 * p95(idle) + _JOB
    share = sum(busy) / len(busy) / (2 * SLOTS)
    told = f"p95 {p95(flooded):.2f} s, alone {p95(idle):.2f} s; flood of {_FLOOD}, {left} left"
    return [
        Verdict(
            "I16",
            "light tenant's wait beside a flood",
            told,
            f"<= 2 x alone + one job: {mark:.2f} s, flood not over",
            ok=p95(flooded) <= mark and left > 0,
        ),
        Verdict("I16", "slots busy during the flood", f"{share:.0%}", ">= 80 %", share >= 0.8),
    ]


async def _light(trial: Trial) -> list[str]:
    """Have the light tenant's runs accepted, one after the other; return their ids."""
    runs = []
    for _ in range(_LIGHT):
        answer = await trial.post(trial.light, f"/actions/{ECHO.key}/run", {"input": {}})
        runs.append(trial.load.note(trial.light, ECHO, run_of(answer)))
        await asyncio.sleep(_PACE)
    return runs


async def _flood(trial: Trial) -> None:
    """Have more accepted at once than can be run for long."""
    # Of lengths around one job's, else all slots would come free in the same moments.
    lengths = [_JOB * (0.5 + number * 37 % 100 / 100) for number in range(_FLOOD)]
    runs = [{"action": SLEEP.key, "input": {"seconds": length}} for length in lengths]
    body = {"runs": runs, "queue": "default"}
    answer = await trial.post(trial.flooder, "/runs", body)
    assert answer.status_code == 200, answer.text
    for item in answer.json()["items"]:
        trial.load.note(trial.flooder, SLEEP, item["id"])


async def _busy_slots(trial: Trial) -> list[int]:
    counts: list[int] = []
    try:
        await asyncio.sleep(1.0)  # the flood has to get in
        while True:
            counts.append(
                await trial.database.count("SELECT count(*) FROM runs WHERE status = 'running'")
            )
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return counts


async def _waits(trial: Trial, runs: Collection[str]) -> list[float]:
    """Return the seconds from acceptance to first start of runs, when all have started."""

    async def found() -> list[dict[str, Any]] | None:
        rows = await trial.database.rows(
            "SELECT extract(epoch FROM min(m.at) - r.created_at) AS seconds FROM runs AS r"
            " JOIN chaos_moves AS m ON m.run_id = r.id AND m.is_now = 'running'"
            " WHERE r.id = ANY(%s::uuid[]) GROUP BY r.id, r.created_at",
            list(runs),
        )
        return rows if len(rows) == len(runs) else None

    return [float(row["seconds"]) for row in await eventually(found, seconds=60)]


def p95(seconds: Sequence[float]) -> float:
    """Return what 19 of 20 do not exceed; 0 of none."""
    return sorted(seconds)[int(len(seconds) * 0.95) - 1] if seconds else 0.0
