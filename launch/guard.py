"""A small process that outlives us and ends our process groups when we are gone.

The kernel's own signal (see `lifeline`) reaches a child, but not the processes that the child
forked, and only on Linux. The guard reads our groups' numbers from a pipe; when the pipe closes,
which no way of dying can prevent, it ends the groups that are still on its list. It runs as a
plain script, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

__all__ = ["Guard", "kill_group"]

#: How long orphaned groups get between SIGTERM and SIGKILL: 50 looks of 0.1 s.
LOOKS = 50
LOOK_SECONDS = 0.1


class Guard:
    """Our end of the pipe. The process starts with the first child and is replaced if it ends."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None

    def enlist(self) -> Callable[[], None]:
        """Return a `preexec_fn` with which a child, a group leader, puts itself on the list.

        It is there before its program runs: no moment is left in which we could die too early.
        """
        pipe = self._open()
        return lambda: _write(pipe, [os.getpid()])

    def add(self, group: int) -> None:
        """Remember a group that has enlisted, for the case that the guard has to be replaced."""
        self._groups.add(group)

    def discard(self, group: int) -> None:
        """Forget a process group that has ended, before the kernel gives its number away."""
        self._groups.discard(group)
        with contextlib.suppress(BrokenPipeError):  # a new guard is told what is left anyway
            _write(self._open(), [-group])

    def close(self) -> None:
        """Let the guard go; it ends the groups that are still on its list."""
        if self._process is not None and self._pipe is not None:
            os.close(self._pipe)
            self._process.wait()
        self._process = self._pipe = None

    def _open(self) -> int:
        """Return the pipe to a guard that runs and knows all groups."""
        if self._pipe is not None and self._process is not None and self._process.poll() is None:
            return self._pipe
        self.close()
        reading, self._pipe = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-I", "-S", __file__],
            stdin=reading,
            cwd="/",
            start_new_session=True,  # Ctrl-C in our terminal is not for it
        )
        os.close(reading)
        _write(self._pipe, self._groups)
        return self._pipe


def _write(pipe: int, groups: Iterable[int]) -> None:
    os.write(pipe, b"".join(b"%d\n" % group for group in groups))


def kill_group(group: int, number: int) -> bool:
    """Signal a process group; False if nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses when only zombies are left
        return False
    return True


def _main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    groups = {group for group in groups if kill_group(group, signal.SIGTERM)}
    for _ in range(LOOKS):
        groups = {group for group in groups if kill_group(group, 0)}
        if not groups:
            return
        time.sleep(LOOK_SECONDS)
    for group in groups:
        kill_group(group, signal.SIGKILL)


if __name__ == "__main__":
    _main()
