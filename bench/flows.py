"""What durable steps cost: a straight chain, many short flows, one wide fan-out, and real work.

Each node's result is on disk before the next node begins; PostgreSQL keeps fsync on here. Peers run
the same chain in the same round.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from bench.bench import Bench
from bench.peers.steps import dbos_steps, temporal_steps
from bench.platform import ROOT
from bench.purge import purge
from bench.report import Measured, p50
from bench.sample import Sample, add_element, open_submission, owner_connection
from runtime.actions.target import Selection
from runtime.clock import monotonic
from runtime.settings import Settings
from runtime.submission import RunRequest, Submission

__all__ = ["measure_flows"]

_CHAIN, _SHORT, _ITEMS = 40, 3, 10_000
#: Nodes that compute a Fibonacci number each, and which: about 0.6 s of Python.
_HEAVY, _FIB = 10, 33
#: Turns, chains one after the other in each, and short flows at once.
_TURNS, _CHAINS, _SHORTS = 4, 5, 1_000
_PATIENCE = 180.0


_PASS_ON = {"output": {"n": {"$var": "$.input.n"}}}


def _steps(
    count: int, kind: str = "transform-data", config: dict[str, Any] = _PASS_ON
) -> dict[str, Any]:
    """Return a trigger and `count` nodes after it; each passes its input on if nothing is said."""
    keys = [f"n{number}" for number in range(count)]
    nodes: dict[str, Any] = {"start": {"type": "api-trigger", "links": [{"key": keys[0]}]}}
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        links = [{"key": following}] if following else []
        nodes[key] = {"type": kind, "config": config, "links": links}
    return {"nodes": nodes}


_FAN_OUT = {
    "nodes": {
        "start": {"type": "api-trigger", "links": [{"key": "each"}]},
        "each": {
            "type": "for-each-v2",
            "concurrency": 100,
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "body"},
        },
        "body": {"type": "transform-data", "config": {"output": {"n": {"$var": "$.input"}}}},
    }
}
_FIB_NODE = {"function": "bench.fib", "input": {"n": _FIB}}
_FLOWS = {
    "chain": _steps(_CHAIN),
    "short": _steps(_SHORT),
    "fan-out": _FAN_OUT,
    "heavy": _steps(_HEAVY, "run-python", _FIB_NODE),
}


async def measure_flows(bench: Bench) -> None:
    """Note a chain's milliseconds and the peers', short flows a second, and the rest's seconds."""
    platform, sample = bench.platform, await bench.sample("free")
    settings = platform.settings
    if bench.number == 0:
        for key, spec in _FLOWS.items():
            await add_element(settings, sample, "flow", key, spec)
    with platform.running(platform.worker(settings, 2)):
        async with open_submission(platform, settings) as submission:
            await _ran(settings, [await _start(submission, sample, "chain", {"n": 0})])
            await _measure_chains(bench, sample, submission)
            wanted = [_request("short", {"n": 1})] * _SHORTS
            began = monotonic()
            answers = await submission.submit_many(sample.owners[0], "default", wanted)
            await _ran(settings, [answer.run_id for answer in answers])  # type: ignore[union-attr] # an error has none, and fails here
            bench.note("flow_3_steps_per_s", _SHORTS / (monotonic() - began))
            run = await _start(submission, sample, "fan-out", list(range(_ITEMS)))
            bench.note("fanout_10000_s", (await _ran(settings, [run]))[0])
            before = _bare_python()
            run = await _start(submission, sample, "heavy", {})
            heavy = (await _ran(settings, [run]))[0]
            # What others do on the machine in the meantime is in both.
            bench.note("flow_fib33_overhead", heavy / ((before + _bare_python()) / 2) - 1)
    await purge(platform)


async def _measure_chains(bench: Bench, sample: Sample, submission: Submission) -> None:
    """Measure the chain here and at the peers in turns, so that all meet the same machine."""
    took: Measured = defaultdict(list)
    for _ in range(_TURNS):
        for _ in range(_CHAINS):
            run = await _start(submission, sample, "chain", {"n": 1})
            took["flow"] += await _ran(bench.platform.settings, [run])
        for name, peer in {"temporal": temporal_steps, "dbos": dbos_steps}.items():
            # In this thread, which is the one that may start processes; nothing else goes on.
            took[name] += peer(bench.platform, bench.peers, _CHAINS, _CHAIN)
    for name, seconds in took.items():
        bench.note(f"{name}_40_steps_ms", p50(seconds) * 1000)


def _bare_python() -> float:
    """Return the seconds that a process of its own takes for what the heavy nodes do."""
    code = (
        "import time; from bench.functions import fib; began = time.perf_counter();"
        f" [fib({{'n': {_FIB}}}) for _ in range({_HEAVY})]; print(time.perf_counter() - began)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.PIPE
    ).stdout
    return float(told)


def _request(flow: str, given: Any) -> RunRequest:
    return RunRequest(Selection(action=flow, kind="flow"), given)


async def _start(submission: Submission, sample: Sample, flow: str, given: Any) -> UUID:
    return (await submission.submit(sample.owners[0], _request(flow, given))).run_id


async def _ran(settings: Settings, runs: Sequence[UUID]) -> list[float]:
    """Return the seconds from each run's first claim to its end; RuntimeError if any failed."""
    deadline = monotonic() + _PATIENCE
    async with owner_connection(settings) as connection:
        while True:
            cursor = await connection.execute(
                "SELECT status, extract(epoch FROM finished_at - started_at)::float8 AS took"
                " FROM runs WHERE id = ANY(%s)",
                (list(runs),),
            )
            rows = await cursor.fetchall()
            states = {row["status"] for row in rows}
            if states == {"completed"}:
                return [row["took"] for row in rows]
            if states & {"failed", "stopped"} or monotonic() > deadline:
                raise RuntimeError(f"Not all of {len(runs)} flow runs completed: {states}.")
            await asyncio.sleep(0.02)
