"""An actor whose coroutine runs on the worker's event loop instead of a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import dramatiq

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["LoopActor"]

P = ParamSpec("P")
R = TypeVar("R")


class LoopActor(dramatiq.Actor[P, R]):
    """Declare one with `@dramatiq.actor(actor_class=LoopActor, queue_name=...)`.

    Dramatiq's own wrapper for coroutines keeps a thread waiting for each; `coroutine` is the
    function itself, to be awaited by the loop consumer.
    """

    def __init__(self, fn: Callable[P, Awaitable[R]], **declaration: Any) -> None:
        """Keep the function, then declare the actor as dramatiq does."""
        self.coroutine = fn
        super().__init__(fn, **declaration)
