"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """Messages in a backlog, requests, samples; `*_seconds` are seconds."""

    rounds: int = 3
    pipeline: int = 20_000
    dramatiq: int = 20_000
    celery: int = 5_000
    procrastinate: int = 3_000
    dbos: int = 1_000
    sequential: int = 1_000
    single: int = 4_000
    bulk: int = 10
    http: int = 200
    #: Calls through the proxy, one after the other; ten times as many by 32 callers.
    proxied: int = 500
    idle: int = 40
    flood: int = 100_000
    #: Runs of the light tenant, idle and under each flood.
    light: int = 75
    fair_seconds: float = 30.0
    #: Outside calls of 50 ms.
    calls: int = 20_000
    #: Outside calls of a second.
    long_calls: int = 6_000
    rest_seconds: float = 10.0
    #: Ticks of one moment, and seconds of a thousand ticks each.
    scheduled: int = 100_000
    scheduled_seconds: float = 20.0
    deep: int = 1_000_000
    deep_seconds: float = 15.0


FULL = Sizes()
#: Enough to see that everything runs; the numbers mean little.
QUICK = Sizes(
    rounds=1,
    pipeline=2_000,
    dramatiq=2_000,
    celery=500,
    procrastinate=500,
    dbos=200,
    sequential=100,
    single=500,
    bulk=2,
    http=20,
    proxied=100,
    idle=10,
    flood=20_000,
    light=10,
    fair_seconds=6.0,
    calls=4_000,
    long_calls=2_500,
    rest_seconds=3.0,
    scheduled=10_000,
    scheduled_seconds=5.0,
    deep=60_000,
    deep_seconds=3.0,
)
