"""The parts of the benchmark by name, in the order in which a round measures them."""

from __future__ import annotations

from collections.abc import Mapping

from bench.bench import Bench, Part
from bench.deep import measure_deep
from bench.enqueue import measure_enqueue
from bench.fairness import measure_fairness
from bench.flood import measure_flood
from bench.flows import measure_flows
from bench.http import measure_http
from bench.idle import measure_idle
from bench.in_flight import measure_in_flight
from bench.javascript import measure_javascript
from bench.lists import measure_lists
from bench.peers.drain import PEERS
from bench.pipeline import measure_pipelines
from bench.proxy import measure_proxy
from bench.resolution import measure_resolution
from bench.rest import measure_rest
from bench.schedules import measure_schedules

__all__ = ["DEEP", "PARTS", "ROUND"]


async def _measure_peers(bench: Bench) -> None:
    for name, peer in PEERS.items():
        count = getattr(bench.sizes, name.partition("_")[0])
        bench.note(f"{name}_per_s", peer.drain(bench.platform, bench.peers, count))


#: What every round measures.
ROUND: Mapping[str, Part] = {
    "pipeline": measure_pipelines,
    "peers": _measure_peers,
    "idle": measure_idle,
    "http": measure_http,
    "enqueue": measure_enqueue,
    "flood": measure_flood,
    "fairness": measure_fairness,
    "in-flight": measure_in_flight,
    "javascript": measure_javascript,
    "proxy": measure_proxy,
    "flows": measure_flows,
    "schedules": measure_schedules,
    "rest": measure_rest,
    "resolution": measure_resolution,
    "lists": measure_lists,
}
#: The part that takes minutes, and is measured when it is asked for.
DEEP = "deep"
PARTS: Mapping[str, Part] = {**ROUND, DEEP: measure_deep}
