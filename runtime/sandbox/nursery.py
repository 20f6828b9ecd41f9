"""The process that the children are forked from: one thread, no secrets, nothing open.

It is told `S` and a number to start a child, along with the child's end of a socket, and `K` and a
number to kill one. It tells the number and the wait status of each that has ended. When the worker
goes away it ends, and the kernel ends the children.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from runtime.sandbox.child import Child
from runtime.sandbox.confine import address_space, isolate
from runtime.sandbox.frames import ORDER, REPORT
from runtime.sandbox.limits import Limits

__all__ = ["main"]

#: Steps of the scheduler by which code comes after the worker, the API and the database.
_NICE = 10


class _Nursery:
    """The children that live, by number and by process id."""

    def __init__(self, control: socket.socket, child: Child) -> None:
        self._control = control
        self._child = child
        self._ids: dict[int, int] = {}
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        """Obey until the worker is gone."""
        wake, wakened = os.pipe()
        for end in (wake, wakened):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakened)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, ORDER.size, 1)
        if not message:
            return False
        order, number = ORDER.unpack(message)
        if order == b"S":
            with socket.socket(fileno=descriptors[0]) as worker:
                self._start(number, worker)
        elif number in self._ids:
            # It is ours and not reaped, so its id cannot belong to anybody else by now.
            os.kill(self._ids[number], signal.SIGKILL)
        return True

    def _start(self, number: int, worker: socket.socket) -> None:
        try:
            process = os.fork()
        except OSError:  # no memory, no processes: that run finds its socket closed
            return self._tell(number, -1)
        if process == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                self._child.live(worker)
                status = 0
            finally:
                os._exit(status)
        self._ids[number] = process
        self._numbers[process] = number
        return None

    def _tell(self, number: int, status: int) -> None:
        self._control.send(REPORT.pack(number, status))

    def _reap(self) -> None:
        while self._ids:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            number = self._numbers.pop(process)
            del self._ids[number]
            self._tell(number, status)


def main() -> None:
    """Serve the worker at the other end of the given descriptor."""
    descriptor, mode, limits = int(sys.argv[1]), sys.argv[2], Limits.load(sys.argv[3])
    bootstrap = (Path(__file__).parent / "bootstrap.js").read_text()
    time.tzset()
    time.localtime()  # reads the time zone, which a child could not
    with socket.socket(fileno=descriptor) as control:
        child = Child(
            bootstrap, limits, base=address_space(), unsafe=mode == "unsafe", parent=os.getpid()
        )
        achieved = isolate()
        os.nice(_NICE)
        control.send(REPORT.pack(0, 0) + ",".join(achieved).encode())
        gc.collect()
        gc.freeze()  # what lives now need not be copied for each child
        _Nursery(control, child).serve()
