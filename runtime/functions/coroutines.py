"""Runs coroutine functions, all on one event loop that is not the worker's."""

from __future__ import annotations

from typing import Any

import structlog

from runtime.functions.job import Job, Outcome
from runtime.functions.loop import FunctionLoop
from runtime.functions.mailbox import Mailbox

__all__ = ["CoroutineFunctions"]

log = structlog.get_logger()


class CoroutineFunctions:
    """One loop for all coroutine functions; it is replaced when it can no longer be freed.

    A function that has to end gets CancelledError where it awaits. If it does not await, then the
    loop does not come round, and the function gets CancelledError in the midst of its work. A
    function that nobody ends may keep the loop; the other coroutine functions wait meanwhile.
    """

    def __init__(self, home: Mailbox[Outcome]) -> None:
        """Send outcomes home; start the loop when it is first needed."""
        self._home = home
        self._loop: FunctionLoop | None = None

    async def run(self, job: Job) -> Any:
        """Return the job's result; see `Job.result`."""
        if self._loop is None:
            self._loop = FunctionLoop(self._home)
        loop = self._loop
        loop.begin(job)
        end = _End(loop, job)
        try:
            return await job.result(end.strike)
        finally:
            if not job.ended:
                loop.cancel(job)
                if loop is self._loop and end.is_in_vain():
                    log.error("functions.loop_replaced", function=job.name)
                    self.close()

    def close(self) -> None:
        """Let the loop end after what is on it; the process does not wait for that."""
        if self._loop is not None:
            self._loop.retire()
            self._loop = None


class _End:
    """The end that a job is brought to: first where it awaits, then wherever it is."""

    def __init__(self, loop: FunctionLoop, job: Job) -> None:
        self._loop = loop
        self._job = job
        self._rounds = -1
        self._step = -1

    def strike(self) -> None:
        """Cancel it; from the second time on strike what holds the loop since the last time."""
        guard = self._loop.guard
        if self._rounds < 0:
            self._rounds = self._loop.rounds
            self._loop.cancel(self._job)
        elif guard.step == self._step:
            guard.strike(self._step)
        self._step = guard.step

    def is_in_vain(self) -> bool:
        """Tell whether the loop has not come round all the while, and for nobody's benefit."""
        inside = self._loop.guard.inside
        return self._loop.rounds == self._rounds and (inside is None or inside.unwanted)
