"""Finds and calls the deployment's functions: entry points of the group `vesicle.functions`.

    [project.entry-points."vesicle.functions"]
    "deals.summarise" = "acme_product.vesicle:summarise"

A function takes the input and, if it has a second parameter, a context. A plain one runs in a
thread of its own. A coroutine function shares an event loop with the other coroutine functions of
the process; while it computes without awaiting, those wait, but neither runs of other kinds nor the
worker itself do. Work of more than some milliseconds belongs in a plain function.

When its run times out or is stopped, a function gets `asyncio.CancelledError`: a coroutine function
where it awaits, and one that does not await, as a plain one, wherever it is. It may clean up and
has 0.4 s for that. Then its run ends without it: a function that is blocked in C code, such as
`time.sleep`, goes on in a thread that is given up, until it comes back and gets its exception.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import structlog

from runtime.errors import ConfigurationError, CustomCodeError, VesicleError
from runtime.functions.coroutines import CoroutineFunctions
from runtime.functions.job import Job, Outcome
from runtime.functions.mailbox import Mailbox
from runtime.functions.outside import Call, OutsideCalls
from runtime.functions.plain import PlainFunctions

__all__ = ["GROUP", "Call", "FunctionContext", "Functions"]

GROUP = "vesicle.functions"

#: Functions that go on after the end of their runs, for each thread; more, and none is begun.
_ABANDONED = 4
#: Seconds after which a thread that computes lets another one in. At CPython's 5 ms a worker with
#: 16 functions that compute needs 90 ms for each exchange with a socket, at 1 ms a quarter of that.
_TURN = 0.001

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FunctionContext:
    """What a function may know about its run: for whom it runs, and the app that it may call."""

    run_id: str
    tenant: Mapping[str, Any]
    #: None where the run has no connection.
    call: Call | None


class Functions:
    """The registered functions of this process."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]], *, threads: int) -> None:
        """Serve these functions, the plain ones in at most `threads` threads."""
        self._functions = dict(functions)
        self._threads = threads
        self._runners: tuple[CoroutineFunctions, PlainFunctions] | None = None
        self._abandoned: set[Job] = set()

    @classmethod
    def registered(cls, *, threads: int) -> Functions:
        """Load what is installed; one that cannot be imported is left out, and logged."""
        found: dict[str, Callable[..., Any]] = {}
        for point in entry_points(group=GROUP):
            try:
                found[point.name] = point.load()
            except Exception as error:  # noqa: BLE001 - a broken plug-in must not stop the worker
                log.error("functions.broken", name=point.name, error=repr(error))  # noqa: TRY400 - the place is in the plug-in
        return cls(found, threads=threads)

    def names(self) -> list[str]:
        """Return what `run-python` can call."""
        return sorted(self._functions)

    async def call(self, name: str, given: Any, context: FunctionContext) -> Any:
        """Run a function; always to be called on the same event loop.

        Raises CustomCodeError with the type of what it raised, or if too many functions did not end
        when they had to. If the call is cancelled, it ends within half a second.
        """
        function = self._functions.get(name)
        if function is None:
            raise ConfigurationError(
                f"No function {name!r} is registered on this worker. Register it under the entry"
                f" point group {GROUP!r} and restart the workers.",
                data={"path": "/config/function", "registered": self.names()[:50]},
            )
        self._refuse_too_many(name)
        calls = OutsideCalls(context.call) if context.call is not None else None
        arguments: tuple[Any, ...] = (given,)
        if _takes_context(function):
            arguments = (given, replace(context, call=calls) if calls else context)
        try:
            return await self._run(Job(name, function, arguments, copy_context()))
        finally:
            if calls:
                calls.end()

    async def _run(self, job: Job) -> Any:
        coroutines, plain = self._started()
        try:
            if inspect.iscoroutinefunction(job.function):
                return await coroutines.run(job)
            return await plain.run(job)
        except (VesicleError, TimeoutError, asyncio.CancelledError):
            raise
        except BaseException as error:
            if not job.ended:
                raise
            log.exception("function.failed", function=job.name)
            raise CustomCodeError(
                f"The function {job.name!r} raised {type(error).__name__}.",
                data={"function": job.name, "exception": type(error).__name__},
            ) from None
        finally:
            if job.abandoned:
                self._abandoned.add(job)
                log.error("function.abandoned", function=job.name, abandoned=len(self._abandoned))

    def _refuse_too_many(self, name: str) -> None:
        if len(self._abandoned) >= _ABANDONED * self._threads:
            raise CustomCodeError(
                f"The function {name!r} was not begun: {len(self._abandoned)} functions of this"
                " worker did not end when they had to, and still go on.",
                data={
                    "function": name,
                    "abandoned": sorted({job.name for job in self._abandoned})[:50],
                },
            )

    def _started(self) -> tuple[CoroutineFunctions, PlainFunctions]:
        if self._runners is None:
            sys.setswitchinterval(min(_TURN, sys.getswitchinterval()))
            home = Mailbox[Outcome](asyncio.get_running_loop(), self._receive)
            self._runners = (
                CoroutineFunctions(home),
                PlainFunctions(home, threads=self._threads),
            )
        return self._runners

    def _receive(self, outcome: Outcome) -> None:
        job, value, error = outcome
        job.end(value, error)
        if job in self._abandoned:
            self._abandoned.discard(job)
            log.warning("function.ended_late", function=job.name, abandoned=len(self._abandoned))

    def close(self) -> None:
        """Let go of idle threads; one that still works ends with the process."""
        if self._runners is not None:
            for runner in self._runners:
                runner.close()
            self._runners = None


@cache
def _takes_context(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(positional) > 1
