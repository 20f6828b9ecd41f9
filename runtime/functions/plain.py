"""Runs plain functions, each in a thread that can be lost without harm."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import Any

from runtime.functions.guard import Guard
from runtime.functions.job import Job, Outcome
from runtime.functions.mailbox import Mailbox

__all__ = ["PlainFunctions"]


class PlainFunctions:
    """As many threads as plain functions may run at once.

    A function that has to end gets CancelledError wherever it is, again and again. One that is
    blocked in C gets it when it comes back; until then its thread is given up and replaced.
    """

    def __init__(self, home: Mailbox[Outcome], *, threads: int) -> None:
        """Send outcomes home; start each thread when it is first needed."""
        self._home = home
        self._room = asyncio.Semaphore(threads)
        self._idle: list[_Thread] = []

    async def run(self, job: Job) -> Any:
        """Wait for a thread, and in it for the job's result; see `Job.result`."""
        async with self._room:
            thread = self._idle.pop() if self._idle else _Thread(self._home)
            job.begun = True
            thread.jobs.put(job)
            try:
                return await job.result(lambda: thread.guard.strike(thread.guard.step))
            finally:
                if job.ended:
                    self._idle.append(thread)
                else:
                    thread.jobs.put(None)

    def close(self) -> None:
        """Let idle threads end; those that work end with the process, which they do not delay."""
        while self._idle:
            self._idle.pop().jobs.put(None)


class _Thread:
    """A thread that works on one job after the other, until it finds None."""

    def __init__(self, home: Mailbox[Outcome]) -> None:
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.guard = Guard()
        self._home = home
        threading.Thread(target=self._work, name="function", daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            self._home.put((job, *self._do(job)))
            del job  # an idle thread holds no tenant's data

    def _do(self, job: Job) -> tuple[Any, BaseException | None]:
        if job.unwanted:
            return None, asyncio.CancelledError()
        return self.guard.run(job, job.context.run, job.function, *job.arguments)
