"""Raises an exception in a function that another thread runs, and never anywhere else.

CPython delivers an asynchronous exception at the thread's next check of its "eval breaker": when a
call returns, when a Python function begins, when a loop goes round. Code that is blocked in C meets
it as soon as it comes back. See `PyThreadState_SetAsyncExc` in the C API.
"""

from __future__ import annotations

import ctypes
import threading
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Guard", "Guarded"]

_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_exception.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_exception.restype = ctypes.c_int
_CANCELLED = ctypes.py_object(CancelledError)
#: NULL, which takes back an exception that has not been delivered.
_NONE = ctypes.py_object()


class Guarded(Protocol):
    """What a guard lets in."""

    #: Whether it has to end; only then is it struck.
    unwanted: bool


class Guard:
    """Knows what its thread is in, from the first instruction of that to the last."""

    def __init__(self) -> None:
        """Guard nothing yet."""
        self._lock = threading.Lock()
        self._thread = 0
        self._struck = False
        self.inside: Guarded | None = None
        #: How many times the thread has gone inside.
        self.step = 0

    def run(
        self, guarded: Guarded, work: Callable[..., Any], *arguments: Any
    ) -> tuple[Any, BaseException | None]:
        """Do the work in this thread; return its value, or None and what it raised.

        It can be struck until its end, and afterwards no strike is left over. From the end of the
        work to the release of the lock there is no check of the eval breaker but those that end
        two calls (of the work and of the lock), and both lie within a `try`.
        """
        self._thread = threading.get_ident()
        value, error = None, None
        try:
            try:
                self.step += 1
                self.inside = guarded
                value = work(*arguments)
            except BaseException as raised:  # noqa: BLE001 - it is handed on
                error = raised
            with self._lock:
                self.inside = None
        except BaseException:  # noqa: BLE001, S110 - a strike that was set before the lock was taken
            pass
        if self._struck:
            _set_exception(self._thread, _NONE)
            self._struck = False
        try:
            return value, error
        finally:
            del error  # else it holds this frame, and this frame holds it

    def strike(self, step: int) -> bool:
        """Raise CancelledError in what is inside, if it is unwanted and came with this step.

        To be called from another thread. Returns whether it was raised; that may be swallowed.
        """
        with self._lock:  # whatever is inside stays there meanwhile
            inside = self.inside
            if inside is None or not inside.unwanted or self.step != step:
                return False
            self._struck = True
            return bool(_set_exception(self._thread, _CANCELLED))
