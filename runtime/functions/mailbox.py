"""Brings things from other threads to an event loop, many with one waking."""

from __future__ import annotations

import contextlib
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Generic, TypeVar

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands each thing that is put in to `receive`, on the loop and in order."""

    def __init__(self, loop: AbstractEventLoop, receive: Callable[[T], None]) -> None:
        """Deliver on this loop; `receive` must not raise."""
        self._loop = loop
        self._receive = receive
        self._things: deque[T] = deque()
        self._rung = False
        # Not that of whoever rings: the things belong to many runs.
        self._context = Context()

    def put(self, *things: T) -> None:
        """Put things in, from any thread; after the end of the loop nobody receives them."""
        self._things.extend(things)
        if not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._deliver, context=self._context)

    def _deliver(self) -> None:
        self._rung = False  # first: what comes from now on rings again
        while self._things:
            self._receive(self._things.popleft())
