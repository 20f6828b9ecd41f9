"""What a line of JavaScript costs, in a process of its own, over an action that does nothing."""

from __future__ import annotations

import asyncio

from bench.bench import Bench
from bench.platform import Platform
from bench.purge import purge
from bench.report import p50
from bench.sample import Sample, add_action, open_submission, owner_connection, request
from runtime.clock import monotonic
from runtime.settings import Settings

__all__ = ["measure_javascript"]

_CODE = "export default async ({ input }) => ({ seconds: input.seconds })"
_ACTION = {"type": "run-javascript", "config": {"code": _CODE}, "safeToRepeat": True}
#: Seconds between two runs, and in which the last one must have ended.
_GAP, _PATIENCE = 0.05, 30.0
#: Milliseconds from the claim of each run to its end on record, by action; the first few ones
#: opened connections and started the sandbox.
_DURATIONS = """
SELECT element_key, extract(epoch FROM finished_at - started_at)::float * 1000 AS took
FROM runs WHERE status = 'completed' AND element_key IN ('noop', 'javascript') ORDER BY id OFFSET 20
"""


async def measure_javascript(bench: Bench) -> None:
    """Note how long single runs take, of JavaScript and of nothing, in turns."""
    sample = await bench.sample("free")
    if bench.number == 0:
        await add_action(bench.platform.settings, sample, "javascript", _ACTION)
    took = await _durations(bench.platform, sample, bench.sizes.http)
    noop, javascript = p50(took["noop"]), p50(took["javascript"])
    bench.note("javascript_p50_ms", javascript)
    bench.note("javascript_overhead_p50_ms", javascript - noop)
    await purge(bench.platform)


async def _durations(platform: Platform, sample: Sample, count: int) -> dict[str, list[float]]:
    settings = platform.settings
    took: dict[str, list[float]] = {"noop": [], "javascript": []}
    with platform.running(platform.worker(settings, 2)):
        async with open_submission(platform, settings) as submission:
            for number in range(2 * count + 20):
                owner = sample.owners[number % len(sample.owners)]
                await submission.submit(owner, request("javascript" if number % 2 else "noop"))
                await asyncio.sleep(_GAP)
        await _until_done(settings, 2 * count + 20)
    async with owner_connection(settings) as connection:
        for row in await (await connection.execute(_DURATIONS)).fetchall():
            took[row["element_key"]].append(row["took"])
    return took


async def _until_done(settings: Settings, count: int) -> None:
    deadline = monotonic() + _PATIENCE
    async with owner_connection(settings) as connection:
        while True:
            cursor = await connection.execute("SELECT status, count(*) FROM runs GROUP BY status")
            by_status = {row["status"]: row["count"] for row in await cursor.fetchall()}
            if by_status.get("completed") == count:
                return
            if by_status.get("failed") or monotonic() > deadline:
                raise RuntimeError(f"Not all of {count} runs completed: {by_status}.")
            await asyncio.sleep(0.1)
