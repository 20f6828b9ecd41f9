"""One call of a function, as the run that waits for it sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Job", "Outcome"]

#: A job, its value, and what it raised instead.
Outcome = tuple["Job", Any, BaseException | None]

#: Seconds between two strikes.
_TICK = 0.05
#: Strikes that a function may outlive: 0.4 s, so that with the run's own writes its end stays
#: within a second.
_STRIKES = 8


@dataclass(slots=True, eq=False)
class Job:
    """A call. Its state belongs to the worker's loop; other threads only read `unwanted`."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    context: Context
    begun: bool = False
    ended: bool = False
    #: Whether nobody wants its result any more, or has it already.
    unwanted: bool = False
    _value: Any = None
    _error: BaseException | None = None
    _ending: asyncio.Future[None] | None = field(default=None, repr=False)

    @property
    def abandoned(self) -> bool:
        """Whether it goes on although its call is over; to be asked when the call is over."""
        return self.begun and not self.ended

    def end(self, value: Any, error: BaseException | None) -> None:
        """Note how it ended and wake whoever waits."""
        self.ended = self.unwanted = True
        self._value, self._error = value, error
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(None)

    async def result(self, strike: Callable[[], object]) -> Any:
        """Return what the function returns, or raise what it raises.

        If the waiting task is cancelled, `strike` is called until the function has ended, which
        then ends the call in its own way; or until patience ends, and CancelledError is raised
        although the function goes on.
        """
        try:
            await self._wait(None)
        except asyncio.CancelledError:
            self.unwanted = True
            if not await self._ends(strike):
                raise
        return self._take()

    async def _ends(self, strike: Callable[[], object]) -> bool:
        for _ in range(_STRIKES):
            strike()
            # Who cancels once more gets what the first one gets, and no later.
            with contextlib.suppress(asyncio.CancelledError):
                await self._wait(_TICK)
            if self.ended:
                return True
        return False

    async def _wait(self, seconds: float | None) -> None:
        if self.ended:
            return
        ending = self._ending = asyncio.get_running_loop().create_future()
        if seconds is None:
            await ending
        else:
            await asyncio.wait([ending], timeout=seconds)

    def _take(self) -> Any:
        value, error = self._value, self._error
        self._value = self._error = None
        try:
            if error is not None:
                raise error
            return value
        finally:
            del error  # else it holds this frame, and this frame holds it
