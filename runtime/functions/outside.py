"""Brings a function's calls of the connected app to the worker's loop, where connections live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Call", "OutsideCalls"]


class Call(Protocol):
    """Calls the connected app on behalf of a function."""

    async def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, Any] | None = None,
        data: Any = None,
    ) -> Any:
        """Return the answer's data; raise the connection's error otherwise."""


class OutsideCalls:
    """A `Call` for any event loop in any thread, which ends with its run.

    The caller's context variables go with each call, and so does a cancellation.
    """

    def __init__(self, call: Call) -> None:
        """Make calls on the loop that runs now."""
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._over = False

    async def __call__(
        self,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, Any] | None = None,
        data: Any = None,
    ) -> Any:
        """Call the app; raises CancelledError once the run has ended."""
        work = self._make(path, method=method, query=query, data=data)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def end(self) -> None:
        """Break off what is under way and let nothing begin: nobody would answer for it."""
        self._over = True
        for task in self._under_way:
            task.cancel()

    async def _make(self, path: str, **request: Any) -> Any:
        if self._over:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - only coroutines get here
        self._under_way.add(task)
        try:
            return await self._call(path, **request)
        finally:
            self._under_way.discard(task)
