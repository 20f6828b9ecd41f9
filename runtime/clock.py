"""The only place that reads the time, so that tests can set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["monotonic", "now"]


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one place


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()
