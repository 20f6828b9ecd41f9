"""A coroutine whose every step on the event loop is under a guard."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from runtime.functions.guard import Guard, Guarded

__all__ = ["Steps"]


class Steps(Coroutine[Any, Any, Any]):
    """Passes everything on to the coroutine, so that it can be struck while it holds the loop."""

    __slots__ = ("_guard", "_guarded", "_inner")

    def __init__(self, guard: Guard, guarded: Guarded, inner: Coroutine[Any, Any, Any]) -> None:
        """Guard the steps of `inner`, which are part of `guarded`."""
        self._guard = guard
        self._guarded = guarded
        self._inner = inner

    def send(self, value: Any) -> Any:
        """Go on until the next thing to wait for."""
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        return self._step(self._inner.throw, *error)

    def close(self) -> None:
        """End it where it waits."""
        self._inner.close()

    def __await__(self) -> Steps:
        """Be awaited as what it guards."""
        return self

    def __iter__(self) -> Steps:
        """Be an iterator, which what is awaited has to be."""
        return self

    def __next__(self) -> Any:
        """Go on with nothing to be given."""
        return self._step(self._inner.send, None)

    def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        value, error = self._guard.run(self._guarded, step, *given)
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # else it holds this frame, and this frame holds it
