"""Where the time of a run goes: CPU by process, and by function in a worker's event loop."""

from __future__ import annotations

import pstats
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from bench.bench import Bench
from bench.cpu import watch_cpu
from bench.pipeline import drain, fill, work_off
from bench.platform import ROOT

__all__ = ["show_profile"]

#: Lines of the list of functions.
_LISTED = 50


class _Line(NamedTuple):
    """One function: microseconds a run in itself and with what it calls, calls a run."""

    own: float
    whole: float
    calls: float
    place: str


async def show_profile(bench: Bench) -> None:
    """Print two tables: one of a drain that is only watched, one of a drain under cProfile."""
    platform, console, count = bench.platform, bench.console, bench.sizes.pipeline
    sample = await bench.sample("profiled")
    first = await fill(platform, platform.settings, sample, "noop", count)
    with watch_cpu() as used:
        rate = await work_off(platform, platform.settings, first, count)
    console.print(_processes(used, count, rate))
    profiled = replace(platform, worker_module="bench.profiled:broker")
    await drain(profiled, platform.settings, sample, "noop", count)
    console.print(_functions(sorted((platform.home / "profiles").glob("*.prof")), count))


def _processes(used: Mapping[str, float], count: int, rate: float) -> Table:
    table = Table("process", "CPU µs a run", title=f"CPU time, {rate:,.0f} runs/s, start included")
    for kind, seconds in sorted(used.items()):
        table.add_row(kind, f"{seconds / count * 1e6:.0f}")
    return table


def _functions(files: Sequence[Path], count: int) -> Table:
    table = Table("own µs", "whole µs", "calls", "function", title="A run in the event loop")
    for line in sorted(_lines(files, count), reverse=True)[:_LISTED]:
        table.add_row(f"{line.own:.1f}", f"{line.whole:.1f}", f"{line.calls:.2f}", line.place)
    return table


def _lines(files: Sequence[Path], count: int) -> list[_Line]:
    stats = pstats.Stats(*map(str, files), stream=sys.stderr)
    entries = stats.stats.items()  # type: ignore[attr-defined] # not in its stub, and documented nowhere else
    return [
        _Line(own / count * 1e6, whole / count * 1e6, calls / count, _place(*function))
        for function, (_, calls, own, whole, _) in entries
    ]


def _place(file: str, line: int, name: str) -> str:
    path = Path(file)
    if path.is_relative_to(ROOT):
        path = path.relative_to(ROOT)
    short = "/".join(path.parts[-3:])
    return f"{short}:{line} {name}" if line else name
