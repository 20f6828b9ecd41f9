"""`python -m bench`: measure ourselves and the peers in turns, print a table, write bench.json."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.bench import Bench
from bench.parts import DEEP, PARTS, ROUND
from bench.platform import ROOT, open_platform
from bench.profile import show_profile
from bench.report import summary, table, write
from bench.sizes import FULL, QUICK
from runtime.memory import settle


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        known = ", ".join(PARTS)
        raise argparse.ArgumentTypeError(f"no part called {', '.join(unknown)}; there are {known}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="try everything once, briefly")
    parser.add_argument("--profile", action="store_true", help="show where a run's time goes")
    parser.add_argument("--only", type=_parts, metavar="NAME,NAME", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--deep", action="store_true", help="a million queued runs: --only deep")
    parser.add_argument("--rounds", type=int, help="instead of 3; of the deep part 1")
    parser.add_argument("--flood", type=int, help="jobs of a flood, instead of 100,000")
    parser.add_argument("--output", type=Path, help="instead of bench.json; of a part: none")
    return parser.parse_args()


async def _measure(bench: Bench, parts: Sequence[str]) -> bool:
    """Measure the parts in turns: whatever slows the machine down meets them all.

    Returns whether all of them succeeded; one that failed has no number.
    """
    is_whole = True
    for number in range(bench.sizes.rounds):
        bench.number = number
        bench.console.print(f"[bold]round {number + 1} of {bench.sizes.rounds}[/bold]")
        for name in parts:
            try:
                await PARTS[name](bench)
            except Exception:  # noqa: BLE001 - the other parts' numbers are worth an hour
                is_whole = False
                bench.console.print_exception(max_frames=3)
    return is_whole


def main() -> int:
    """Run the command; return its exit status."""
    given = _arguments()
    console = Console()
    sizes = QUICK if given.quick else FULL
    parts = [DEEP] if given.deep else given.only or list(ROUND)
    rounds = given.rounds or (1 if parts == [DEEP] else sizes.rounds)
    sizes = replace(sizes, rounds=rounds, flood=given.flood or sizes.flood)
    settle()  # as an API process does, whose part we play
    with open_platform() as platform:
        bench = Bench(platform, sizes, console)
        if given.profile:
            asyncio.run(show_profile(bench))
            return 0
        is_whole = asyncio.run(_measure(bench, parts))
    numbers = summary(bench.measured)
    output = given.output or (ROOT / "bench.json" if parts == list(ROUND) else None)
    if output is not None:
        write(numbers, output)
    console.print(table(numbers, bench.measured))
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
