"""How many runs that wait for the outside world one worker process carries at once.

The worker has 1,200 slots. A run calls an endpoint of its own on the loopback, which answers after
50 ms; with calls of a second it is the slots, and not the runs a second, that are the bound.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx2

from bench.bench import Bench
from bench.cpu import peak_memory
from bench.pipeline import fill, until_done
from bench.platform import ROOT, Platform
from bench.purge import purge
from bench.sample import Sample, add_action, owner_connection
from launch.embedded.access import choose_port
from launch.supervisor import Child

__all__ = ["measure_in_flight"]

_SLOTS = 1200
_numbers = itertools.count()

#: From the first start to the last end. Without a ramp that is left out: calls that begin together
#: end together, and a rate that leaves the first of few such waves out is more than was done.
_RATE = """
SELECT count(*) AS total, (count(*)
    / extract(epoch FROM max(finished_at) - min(started_at)))::float8 AS rate
FROM runs WHERE id >= %(first)s AND status = 'completed'
"""
#: Claimed and not finished: +1 at each start, -1 at each end, the highest sum.
_HELD = """
SELECT max(held) AS held FROM (
    SELECT sum(step) OVER (ORDER BY at, step) AS held FROM runs,
        LATERAL (VALUES (started_at, 1), (finished_at, -1)) AS moment (at, step)
    WHERE id >= %(first)s
) AS over_time
"""


@dataclass(frozen=True)
class _Carried:
    """Calls open at once at most, runs held at once at most, runs a second, megabytes."""

    calls: int
    held: int
    rate: float
    memory: float


async def measure_in_flight(bench: Bench) -> None:
    """Note peaks, runs a second and memory, with calls of 50 ms and of a second."""
    short = await _carried(bench, 50, bench.sizes.calls)
    bench.note("in_flight_per_process", short.calls)
    # Held runs are no merit: the slower a worker is, the more of them it holds.
    bench.note("in_flight_runs_held", short.held)
    bench.note("in_flight_per_s", short.rate)
    bench.note("in_flight_calls_mean", short.rate * 0.05)
    bench.note("in_flight_vs_ideal", short.rate / (_SLOTS / 0.05))
    long = await _carried(bench, 1000, bench.sizes.long_calls)
    bench.note("in_flight_calls_of_1s", long.calls)
    bench.note("in_flight_of_1s_vs_ideal", long.rate / _SLOTS)
    bench.note("worker_rss_mb", max(short.memory, long.memory))


async def _carried(bench: Bench, milliseconds: int, count: int) -> _Carried:
    platform, sample = bench.platform, await bench.sample("calls")
    settings, port = platform.settings, choose_port()
    action = await _add_call(platform, sample, port, milliseconds)
    more = {"VESICLE_SLOTS": str(_SLOTS), "VESICLE_EGRESS_ALLOW": f"127.0.0.1:{port}"}
    with _answering(platform, port) as address:
        first = await fill(platform, settings, sample, action, count)
        with platform.working(1, more):
            await until_done(settings, first)
            memory = peak_memory()
        calls = httpx2.get(f"{address}/counted", trust_env=False).json()["peak"]
    rate, held = await _told(platform, first, count)
    await purge(platform)
    return _Carried(calls, held, rate, memory)


async def _add_call(platform: Platform, sample: Sample, port: int, milliseconds: int) -> str:
    key = f"call-{next(_numbers)}"
    uri = f"http://127.0.0.1:{port}/?ms={milliseconds}"
    config = {"request": {"uri": uri, "method": "GET"}}
    spec = {"type": "http-request", "config": config, "safeToRepeat": True}
    await add_action(platform.settings, sample, key, spec)
    return key


@contextmanager
def _answering(platform: Platform, port: int) -> Iterator[str]:
    address = f"http://127.0.0.1:{port}"
    environment: Mapping[str, str] = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench.answering", str(port)]
    with platform.running(Child("answering", command, environment, ready_url=f"{address}/counted")):
        yield address


async def _told(platform: Platform, first: UUID, count: int) -> tuple[float, int]:
    async with owner_connection(platform.settings) as connection:
        ended = await (await connection.execute(_RATE, {"first": first})).fetchone()
        peak = await (await connection.execute(_HELD, {"first": first})).fetchone()
    assert ended is not None  # noqa: S101 - an aggregate has one row
    assert peak is not None  # noqa: S101 - the same
    if ended["total"] != count:
        raise RuntimeError(f"Of {count} runs that call outside {ended['total']} completed.")
    return float(ended["rate"]), int(peak["held"])
