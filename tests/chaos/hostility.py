"""Hostile outside apps (I17): bounded in time, memory and calls, and nothing believed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.clock import now
from tests.chaos.fairness import p95
from tests.chaos.hostile import HOSTILE, HUGE, most_calls
from tests.chaos.scene import ECHO, HOSTILE_TIMEOUT
from tests.chaos.trials import Trial, run_of
from tests.chaos.verdict import Verdict
from tests.waiting import eventually

__all__ = ["hostility"]

#: Bytes of an outside app's answer that are read at most.
_BODY_CAP = 30_000_000
#: Seconds that runs of others may wait beside all that and what is left of a flood, which goes on
#: meanwhile on the other half of the slots: twice its longest job.
_OTHERS_WAIT = 3.0

_OTHERS = """
SELECT extract(epoch FROM min(m.at) - r.created_at) AS seconds FROM runs AS r
JOIN chaos_moves AS m ON m.run_id = r.id AND m.is_now = 'running'
JOIN tenants AS t ON t.id = r.tenant_id AND t.key IN ('acme', 'globex')
WHERE r.created_at > %s GROUP BY r.id, r.created_at
"""


async def hostility(trial: Trial) -> list[Verdict]:
    """Call every hostile path: the huge ones one by one, beside all others at once."""
    memory = _Memory([p.handle.pid for p in trial.processes.of("worker") if p.handle])
    since = now()
    watching = asyncio.create_task(memory.watch())
    ends = await asyncio.gather(
        *(_suffer(trial, path) for path in HOSTILE), _suffer_all(trial, list(HUGE))
    )
    watching.cancel()
    waited = await trial.database.rows(_OTHERS, since)
    others = p95([float(row["seconds"]) for row in waited])
    rows: dict[str, Mapping[str, Any]] = {}
    for each in ends:
        rows |= each
    over = max(float(row["seconds"]) for row in rows.values()) - HOSTILE_TIMEOUT
    storms = [
        f"{path}: {trial.hostile.calls[path]} calls"
        for path in rows
        if not 1 <= trial.hostile.calls[path] <= most_calls(path)
    ]
    believed = [path for path, row in rows.items() if row["status"] != "failed"]
    calls = sum(trial.hostile.calls[path] for path in rows)
    growth = memory.growth / 1e6
    return [
        Verdict(
            "I17",
            "hostile answers: longest over its timeout",
            f"{over:+.1f} s (of {len(rows)})",
            "<= 1 s",
            ok=over <= 1,
        ),
        Verdict(
            "I17",
            "hostile answers taken for results",
            str(len(believed)),
            "= 0",
            not believed,
            believed,
        ),
        Verdict(
            "I17",
            "calls beyond what the policy allows",
            f"{len(storms)} ({calls} calls)",
            "= 0",
            not storms,
            storms,
        ),
        Verdict(
            "I17",
            "others' wait meanwhile",
            f"p95 {others:.2f} s (of {len(waited)})",
            f"<= {_OTHERS_WAIT:g} s",
            ok=others <= _OTHERS_WAIT,
        ),
        Verdict(
            "I17",
            "workers' memory meanwhile",
            f"{growth:+.0f} MB",
            f"<= 2 x {_BODY_CAP / 1e6:.0f} MB",
            growth <= 2 * _BODY_CAP / 1e6,
        ),
    ]


async def _suffer_all(trial: Trial, paths: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    ends: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        ends |= await _suffer(trial, path)
    return ends


async def _suffer(trial: Trial, path: str) -> dict[str, Mapping[str, Any]]:
    """Have a run call a hostile path; return how it ended and how long its last try took."""
    given = {"uri": f"http://127.0.0.1:{trial.hostile.port}/{path.replace(' ', '%20')}"}
    answer = await trial.post(trial.light, "/actions/hostile/run", {"input": given})
    run_id = trial.load.note(trial.light, ECHO, run_of(answer))

    async def ended() -> list[dict[str, Any]]:
        return await trial.database.rows(
            "SELECT status, extract(epoch FROM finished_at - started_at) AS seconds FROM runs"
            " WHERE id = %s AND finished_at IS NOT NULL",
            run_id,
        )

    (row,) = await eventually(ended, seconds=60)
    return {path: row}


class _Memory:
    """Watches how much memory process groups hold."""

    def __init__(self, groups: Sequence[int]) -> None:
        self._groups = set(groups)
        self._before = self._now()
        self._most = self._before

    @property
    def growth(self) -> int:
        """How many bytes more than at first they have held."""
        return self._most - self._before

    async def watch(self) -> None:
        while True:
            self._most = max(self._most, self._now())
            await asyncio.sleep(0.1)

    def _now(self) -> int:
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) in self._groups:  # its process group
                total += int(fields[21]) * 4096
        return total
