"""Functions that the tests' worker registers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from runtime.functions.registry import FunctionContext


async def echo(given: Any, context: FunctionContext) -> Any:
    """Return the input and the tenant's key."""
    return {"given": given, "tenant": context.tenant["key"]}


async def sleep(given: dict[str, float]) -> str:
    """Wait for the seconds that are given."""
    await asyncio.sleep(given["seconds"])
    return "slept"


def echo_plain(given: Any, context: FunctionContext) -> Any:
    """Do as `echo` does, in a thread."""
    return {"given": given, "tenant": context.tenant["key"]}


def fail(given: Any) -> None:
    """Raise something with a text that nobody may see."""
    message = f"secret: {given}"
    raise ValueError(message)


async def deals(given: dict[str, Any], context: FunctionContext) -> Any:
    """Call the connected app."""
    assert context.call is not None
    return await context.call("/api/deals", query={"limit": given["limit"]})


def spin(given: Any) -> None:
    """Loop for ever, in a thread."""
    while True:
        pass


async def spin_async(given: Any) -> None:
    """Loop for ever, on the event loop."""
    while True:
        pass


def block(given: dict[str, float]) -> str:
    """Be blocked in C for the seconds that are given."""
    time.sleep(given["seconds"])
    return "came back"


def letters(given: dict[str, int]) -> dict[str, str]:
    """Return so many megabytes of text, which hardly compress."""
    chosen = random.Random(7)
    return {"text": chosen.randbytes(given["megabytes"] * 512 * 1024).hex()}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "echo": echo,
    "echo-plain": echo_plain,
    "sleep": sleep,
    "fail": fail,
    "deals": deals,
    "spin": spin,
    "spin-async": spin_async,
    "block": block,
    "letters": letters,
}
