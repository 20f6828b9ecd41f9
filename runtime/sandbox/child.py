"""One run's process: shuts itself in, takes one piece of code, and ends with it."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator

from runtime.sandbox.confine import die_with_parent, limit, seal
from runtime.sandbox.engine import Engine, Message
from runtime.sandbox.expressions import answers
from runtime.sandbox.frames import Broken, receive, send
from runtime.sandbox.limits import Limits

__all__ = ["Child"]

#: Where the worker is, once everything else is closed.
_WORKER = 0


class Child:
    """What a forked process becomes."""

    def __init__(
        self, bootstrap: str, limits: Limits, *, base: int, unsafe: bool, parent: int
    ) -> None:
        """Take what the nursery knows; `unsafe`: run code even where it cannot be shut in."""
        self._bootstrap = bootstrap
        self._limits = limits
        self._base = base
        self._unsafe = unsafe
        self._parent = parent

    def live(self, worker: socket.socket) -> None:
        """Serve one run over the socket; then there is nothing left to do."""
        die_with_parent(self._parent)
        os.dup2(worker.fileno(), _WORKER)
        os.closerange(_WORKER + 1, os.sysconf("SC_OPEN_MAX"))
        engine = Engine(self._bootstrap, self._limits)
        if (fault := self._shut_in()) and not self._unsafe:
            send(_WORKER, "F", fault.encode())
            return
        send(_WORKER, "H", b"")
        try:
            _serve(engine, self._limits)
        except Broken:  # nobody waits any more
            return

    def _shut_in(self) -> str:
        """Return what could not be done, or nothing."""
        fault = ""
        steps: tuple[Callable[[], None], ...] = (lambda: limit(self._limits, self._base), seal)
        for step in steps:
            try:
                step()
            except (OSError, ValueError) as error:
                fault = str(error)
        return fault


def _serve(engine: Engine, limits: Limits) -> None:
    kind, code = receive(_WORKER)
    if kind == "J":
        send(_WORKER, "R", answers(code.decode(), limits.output))
        return
    _, cpu = receive(_WORKER)
    _, given = receive(_WORKER)
    if _is_over(engine.start(code.decode(), given.decode(), float(cpu))):
        return
    poll = select.poll()
    poll.register(_WORKER, select.POLLIN)
    while True:
        left = engine.wait()
        if poll.poll(None if left is None else left * 1000):
            going = engine.answer(receive(_WORKER)[1].decode())
        else:
            going = engine.fire()
        if _is_over(going):
            return


def _is_over(messages: Iterator[Message]) -> bool:
    """Send what comes; return whether it was the end."""
    for kind, payload in messages:
        send(_WORKER, kind, payload)
        if kind in "RE":
            return True
    return False
