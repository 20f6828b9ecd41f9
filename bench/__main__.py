"""`python -m bench`: measure ourselves and the peers in turns, print a table, write bench.json."""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.enqueue import enqueue_bulk, enqueue_single
from bench.http import http_overhead
from bench.idle import idle_starts
from bench.peers.drain import PEERS
from bench.peers.environment import peers_python
from bench.pipeline import drain
from bench.platform import ROOT, Platform, open_platform
from bench.profile import show_profile
from bench.report import Measured, p50, p99, summary, table, write
from bench.sample import Sample, make_sample
from runtime.settings import settings


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `pipeline` and the peers' are messages in a backlog."""

    rounds: int = 3
    pipeline: int = 20_000
    dramatiq: int = 20_000
    celery: int = 5_000
    single: int = 1_000
    bulk: int = 10
    http: int = 200
    idle: int = 20


_FULL = Sizes()
#: Enough to see that everything runs; the numbers mean little.
_QUICK = Sizes(
    rounds=1, pipeline=2_000, dramatiq=2_000, celery=500, single=100, bulk=2, http=20, idle=3
)


class Bench:
    """One run of the benchmark."""

    def __init__(self, platform: Platform, peers: Path, sizes: Sizes, console: Console) -> None:
        """Measure on this platform, the peers with their own interpreter."""
        self._platform = platform
        self._peers = peers
        self._sizes = sizes
        self._console = console
        self._measured: Measured = defaultdict(list)

    async def run(self) -> Measured:
        """Measure everything in turns: whatever slows the machine down meets them all."""
        platform = self._platform
        free = await make_sample(platform.settings, "free")
        limited = await make_sample(platform.settings, "limited", limited=True)
        unsecured = await make_sample(platform.unsecured, "unsecured")
        for number in range(self._sizes.rounds):
            self._console.print(f"[bold]round {number + 1} of {self._sizes.rounds}[/bold]")
            await self._pipelines(number, free, limited, unsecured)
            self._drain_peers()
            await self._latencies(free)
        return self._measured

    async def _pipelines(
        self, number: int, free: Sample, limited: Sample, unsecured: Sample
    ) -> None:
        platform, count = self._platform, self._sizes.pipeline
        secured, opened = platform.settings, platform.unsecured
        kinds = [
            ("pipeline_per_s", secured, free, "noop"),
            ("pipeline_unsecured_per_s", opened, unsecured, "noop"),
            ("pipeline_noted_per_s", secured, free, "noop-once"),
            ("pipeline_limited_per_s", secured, limited, "noop"),
        ]
        # Each round begins elsewhere, so that none of them always follows the same one.
        for name, where, sample, action in kinds[number % 4 :] + kinds[: number % 4]:
            self._note(name, await drain(platform, where, sample, action, count))

    def _drain_peers(self) -> None:
        for name, peer in PEERS.items():
            count = self._sizes.celery if name == "celery" else self._sizes.dramatiq
            self._note(f"{name}_per_s", peer.drain(self._platform, self._peers, count))

    async def _latencies(self, sample: Sample) -> None:
        platform, sizes = self._platform, self._sizes
        starts = await idle_starts(platform, sample, sizes.idle)
        self._note("idle_start_p50_ms", p50(starts))
        self._note("idle_start_p99_ms", p99(starts))
        took = http_overhead(platform, sample, sizes.http)
        self._note("sync_http_overhead_p50_ms", p50(took))
        single = await enqueue_single(platform, sample, sizes.single)
        self._note("enqueue_single_per_s", single)
        self._note("enqueue_bulk_per_s", await enqueue_bulk(platform, sample, sizes.bulk))

    def _note(self, name: str, value: float) -> None:
        self._measured[name].append(value)
        self._console.print(f"  {name:28}{value:12,.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="try everything once, briefly")
    parser.add_argument("--profile", action="store_true", help="show where a run's time goes")
    parser.add_argument("--rounds", type=int, help="instead of 3")
    parser.add_argument("--output", type=Path, default=ROOT / "bench.json")
    return parser.parse_args()


async def _profile(platform: Platform, sizes: Sizes, console: Console) -> None:
    sample = await make_sample(platform.settings, "profiled")
    await show_profile(platform, sample, sizes.pipeline, console)


def main() -> None:
    """Run the command."""
    given = _arguments()
    console = Console()
    sizes = _QUICK if given.quick else _FULL
    if given.profile:
        with open_platform() as platform:
            asyncio.run(_profile(platform, sizes, console))
        return
    if given.rounds:
        sizes = Sizes(**{**sizes.__dict__, "rounds": given.rounds})
    peers = peers_python(settings().home)
    with open_platform() as platform:
        measured = asyncio.run(Bench(platform, peers, sizes, console).run())
    numbers = summary(measured)
    write(numbers, given.output)
    console.print(table(numbers, measured))


if __name__ == "__main__":
    main()
