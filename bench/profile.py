"""Where the time of a run goes: CPU time by process, and by function within a worker."""

from __future__ import annotations

import contextlib
import pstats
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import sysconf
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.pipeline import drain
from bench.platform import Platform
from bench.sample import Sample
from launch.supervisor import Child

__all__ = ["Usage", "profile", "watch_cpu"]

_LOOK = 0.05
_TICK = sysconf("SC_CLK_TCK")
#: What a process is called by the names of its programs; what is not named is not counted.
_KINDS = {"postgres": "PostgreSQL", "valkey-server": "Valkey", "python": "workers"}
#: Functions that are listed.
_LISTED = 45


@dataclass
class Usage:
    """CPU seconds by kind of process, of processes that began or were there while it watched."""

    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def watch_cpu() -> Iterator[Usage]:
    """Count the CPU time that our servers and workers use while the block lasts (Linux only)."""
    usage, seen, ended = Usage(), {}, threading.Event()
    before = _snapshot()

    def look() -> None:
        while not ended.wait(_LOOK):
            seen.update(_snapshot())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        ended.set()
        thread.join()
        for process, (kind, seconds) in seen.items():
            _, earlier = before.get(process, (kind, 0.0))
            usage.seconds[kind] = usage.seconds.get(kind, 0.0) + seconds - earlier


def _snapshot() -> dict[tuple[int, int], tuple[str, float]]:
    """Return (process, its start) -> (kind, CPU seconds) of all that descends from us."""
    found: dict[int, tuple[int, str, int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                values = rest.split()
                spent = (int(values[11]) + int(values[12])) / _TICK
                found[int(entry.name)] = (int(values[1]), name, int(values[19]), spent)
    return {
        (pid, start): (kind, spent)
        for pid, (_, name, start, spent) in found.items()
        if (kind := _kind(name)) and _is_ours(pid, found)
    }


def _kind(name: str) -> str | None:
    return next((kind for start, kind in _KINDS.items() if name.startswith(start)), None)
