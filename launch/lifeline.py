"""Ties the life of a child process to ours, however ours ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

from runtime.errors import InternalError

__all__ = ["dies_with_us"]

#: The option number of prctl(2) for "send me this signal when my parent ends".
PR_SET_PDEATHSIG = 1


def dies_with_us(number: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn` that makes the kernel send `number` to the child when we end.

    On Linux only; elsewhere it does nothing, and the next start looks for what was left behind.
    The kernel watches the *thread* that started the child, so only the main thread may do so.

    Raises InternalError on any other thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InternalError("Child processes are started from the main thread only")
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # we ended before the call above: no signal would come
            os._exit(1)

    return tie
