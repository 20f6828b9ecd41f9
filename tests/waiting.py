"""Waiting on conditions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from runtime.clock import monotonic


async def eventually(condition: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Return the condition's first true value; AssertionError if there is none in time."""
    deadline = monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.02)
