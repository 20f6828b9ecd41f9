"""A worker whose event loop is profiled: `dramatiq bench.profiled:broker`.

Each process writes what it saw to `<home>/profiles` when it stops.
"""

from __future__ import annotations

import cProfile
import os
from collections.abc import Callable
from typing import Any

from runtime.settings import settings
from workers import boot
from workers.host import LoopHost

__all__ = ["broker"]


def _profiled(live: Callable[..., None]) -> Callable[..., None]:
    """Return the loop's thread function under a profiler: each has its thread's calls only."""

    def run(*arguments: Any) -> None:
        with cProfile.Profile() as profiler:
            live(*arguments)
        folder = settings().home / "profiles"
        folder.mkdir(exist_ok=True)
        profiler.dump_stats(folder / f"{os.getpid()}.prof")

    return run


setattr(LoopHost, "_live", _profiled(LoopHost._live))  # noqa: SLF001, B010 - the one place where the loop runs
broker = boot.broker
