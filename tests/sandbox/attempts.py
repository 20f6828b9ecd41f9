"""What native code would try if it escaped the engine; a process that tests start, and shut in.

Prints `walls` and, for each attempt, the error that stopped it or "done".
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from runtime.sandbox.confine import address_space, isolate, limit, seal
from runtime.sandbox.limits import Limits

_LIMITS = Limits(memory=32 << 20, cpu=1, stack=1 << 20, output=1, log=1, answer=1)
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> Callable[[], None]:
    function = getattr(_libc, name)

    def attempt() -> None:
        if function(*arguments) == -1:
            raise OSError(ctypes.get_errno(), "")

    return attempt


def _bytes(size: int) -> None:
    bytearray(size)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read a file": lambda: Path("/etc/passwd").read_bytes(),
    "read the environment": lambda: Path("/proc/self/environ").read_bytes(),
    "read another's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "write a file": lambda: Path("/tmp/vesicle-escape").write_bytes(b"x"),  # noqa: S108 - it must not work
    "list a folder": lambda: os.listdir("/"),  # noqa: PTH208 - the plain system call
    "open a socket": lambda: socket.socket().close(),
    "open a unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "make a pipe": os.pipe,
    "fork": _call("fork"),
    "start a program": _call("execve", b"/bin/true", None, None),
    "kill": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "trace": _call("ptrace", 16, os.getppid(), 0, 0),
    "become root": lambda: os.setuid(0),
    "raise a limit": lambda: __import__("resource").setrlimit(0, (9, 9)),
    "mount": _call("mount", b"none", b"/", b"tmpfs", 0, None),
    "make namespaces": _call("unshare", 0x10000000),
    "run memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "copy a descriptor": lambda: os.dup(0),
    "take all memory": lambda: _bytes(1 << 30),
    "change the clock": lambda: __import__("time").clock_settime(0, 0),
    "load a module into the kernel": _call("syscall", 175, 0, 0, 0),
    "use io_uring": _call("syscall", 425, 1, 0),
}


def main() -> None:
    """Shut this process in, as root or as the user that is named, and try everything."""
    if sys.argv[1] == "nobody":
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    base = address_space()
    walls = isolate()
    limit(_LIMITS, base)
    seal()
    came_to = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            came_to[name] = "done"
        except (OSError, MemoryError, ValueError) as error:
            came_to[name] = type(error).__name__
    os.write(1, json.dumps({"walls": walls, **came_to}).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
