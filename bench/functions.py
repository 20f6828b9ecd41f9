"""What the measured actions do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

__all__ = ["clock", "fib", "noop", "sleep"]


async def noop(_given: Any) -> None:
    """Do nothing."""


async def clock(_given: Any) -> dict[str, int]:
    """Return the moment of the action's first line, in nanoseconds since 1970."""
    return {"at": time.time_ns()}


async def sleep(given: Any) -> None:
    """Take the given `seconds`, and no processor."""
    await asyncio.sleep(given["seconds"])


def fib(given: Any) -> int:
    """Return the given Fibonacci number `n`, in a thread, as slowly as can be."""
    return _fib(given["n"])


def _fib(number: int) -> int:
    return number if number < 2 else _fib(number - 1) + _fib(number - 2)  # noqa: PLR2004 - as it is defined
