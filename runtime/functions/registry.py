"""Finds and calls the deployment's functions: entry points of the group `vesicle.functions`.

    [project.entry-points."vesicle.functions"]
    "deals.summarise" = "acme_product.vesicle:summarise"

A function takes the input and, if it has a second parameter, a context. It may be a coroutine
function, which runs on the worker's loop, or a plain one, which runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

import structlog

from runtime.errors import ConfigurationError, CustomCodeError, VesicleError

__all__ = ["GROUP", "FunctionContext", "Functions"]

GROUP = "vesicle.functions"

log = structlog.get_logger()


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
        """Serve these functions, the blocking ones in at most `threads` threads."""
        self._functions = dict(functions)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="function")

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
        """Run a function. Raises CustomCodeError with the type of what it raised."""
        function = self._functions.get(name)
        if function is None:
            raise ConfigurationError(
                f"No function {name!r} is registered on this worker. Register it under the entry"
                f" point group {GROUP!r} and restart the workers.",
                data={"path": "/config/function", "registered": self.names()[:50]},
            )
        arguments = (given, context) if _takes_context(function) else (given,)
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*arguments)
            work = copy_context()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work.run, function, *arguments)
        except (VesicleError, TimeoutError):
            raise
        except Exception as error:
            log.exception("function.failed", function=name)
            raise CustomCodeError(
                f"The function {name!r} raised {type(error).__name__}.",
                data={"function": name, "exception": type(error).__name__},
            ) from None

    def close(self) -> None:
        """Let go of idle threads; one that still works ends with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@cache
def _takes_context(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(positional) > 1
