"""Where child processes write: `<home>/logs/<name>.log`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

__all__ = ["log_path", "open_log", "tail"]

#: A larger log is set aside as `<name>.log.1` when its process starts again.
MAX_BYTES = 10_000_000
#: How much of its end is looked at for an error message.
TAIL_BYTES = 16_384


def log_path(home: Path, name: str) -> Path:
    """Return where the child called `name` writes."""
    return home / "logs" / f"{name}.log"


def open_log(home: Path, name: str) -> IO[bytes]:
    """Open a child's log for appending; nobody but us can read it."""
    path = log_path(home, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return open(path, "ab", opener=_private)


def tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log, for a human to see why its process ended."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - TAIL_BYTES))
        text = log.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
