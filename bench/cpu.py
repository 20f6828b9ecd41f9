"""How much CPU time and memory our processes use (Linux only: read from /proc)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["peak_memory", "python_seconds", "watch_cpu"]

_LOOK = 0.05
_TICK = os.sysconf("SC_CLK_TCK")
#: How a kind of process's name begins; what is not named is not counted.
_KINDS = {"postgres": "PostgreSQL", "valkey-server": "Valkey", "python": "worker processes"}


class _Process(NamedTuple):
    """One process at one moment."""

    parent: int
    name: str
    started: int
    seconds: float


@contextmanager
def watch_cpu() -> Iterator[Mapping[str, float]]:
    """Yield a mapping that at the end of the block has the CPU seconds used in it, by kind."""
    used: dict[str, float] = defaultdict(float)
    before, seen, over = _ours(), {}, threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            seen.update(_ours())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield used
    finally:
        over.set()
        watcher.join()
        for key, process in seen.items():
            kind = next((_KINDS[start] for start in _KINDS if process.name.startswith(start)), None)
            if kind is not None:
                earlier = before.get(key)
                used[kind] += process.seconds - (earlier.seconds if earlier else 0.0)


def peak_memory() -> float:
    """Return the megabytes that the largest of our Python processes ever had in memory.

    What a worker shares with the master that it was forked from counts in full.
    """
    largest = 0
    for (pid, _), process in _ours().items():
        if process.name.startswith("python"):
            with contextlib.suppress(OSError):  # it has ended
                status = Path(f"/proc/{pid}/status").read_text()
                largest = max(largest, int(status.partition("VmHWM:")[2].split()[0]))
    return largest * 1024 / 1e6


def python_seconds() -> float:
    """Return the CPU seconds that our Python processes have used, to the nanosecond.

    The ticks of /proc/*/stat are too coarse for a process that rests: 10 ms, of some 17 in 10 s.
    """
    spent = 0
    for (pid, _), process in _ours().items():
        if process.name.startswith("python"):
            for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):  # it has ended
                    spent += int(schedule.read_text().split()[0])
    return spent / 1e9


def _ours() -> dict[tuple[int, int], _Process]:
    """Return our descendants by (process id, start), so that a reused id is another process."""
    everybody = dict(_processes())
    return {
        (pid, process.started): process
        for pid, process in everybody.items()
        if _descends(process, everybody)
    }


def _processes() -> Iterator[tuple[int, _Process]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                # pid (name) state ppid … utime stime … starttime …: see proc(5)
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                values = rest.split()
                spent = (int(values[11]) + int(values[12])) / _TICK
                yield int(entry.name), _Process(int(values[1]), name, int(values[19]), spent)


def _descends(process: _Process, everybody: Mapping[int, _Process]) -> bool:
    ourselves = os.getpid()
    parent: _Process | None = process
    while parent is not None:
        if parent.parent == ourselves:
            return True
        parent = everybody.get(parent.parent)
    return False
