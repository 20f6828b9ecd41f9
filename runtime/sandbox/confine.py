"""Takes from a process what it does not need: rights, the network, files, and more memory.

Two steps. The nursery gives up what it can before it forks (`isolate`): whatever of that the
machine does not allow is left, and said. Each child then gives up the rest (`seal`), and that has
to work: limits and the filter of system calls are what keeps code in; all else is a second wall.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import tempfile
from pathlib import Path

from runtime.sandbox import seccomp
from runtime.sandbox.limits import Limits

__all__ = ["address_space", "die_with_parent", "isolate", "limit", "seal"]

#: Who owns nothing.
_NOBODY = 65534
#: From linux/sched.h, linux/prctl.h and linux/capability.h.
_NEW_FILES, _NEW_UTS, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_CAPABILITY_VERSION_3 = 0x20080522

#: Bytes of address space that a child has beyond the code's memory: for messages on their way.
_SLACK = 256 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> list[str]:
    """Leave network, files and rights behind as far as possible; return what was achieved."""
    achieved = []
    nowhere = tempfile.mkdtemp(prefix="vesicle-nowhere-")
    try:
        here = os.open(nowhere, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        Path(nowhere).rmdir()
    spaces = _NEW_FILES | _NEW_UTS | _NEW_IPC | _NEW_NETWORK
    if os.geteuid() != 0:
        spaces |= _NEW_USER
    if _libc.unshare(spaces) == 0:
        achieved.append("namespaces")
    try:
        os.fchdir(here)
        os.chroot(".")
        achieved.append("no-files")
    except OSError:
        pass
    os.close(here)
    if _is_nobody() and _has_no_capabilities():
        achieved.append("no-rights")
    return achieved


def address_space() -> int:
    """Return the bytes of address space that this process has, while it can still see that."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def limit(limits: Limits, base: int) -> None:
    """Limit what the process may use, beyond `base` bytes of address space.

    Raises OSError or ValueError.
    """
    room = base + limits.memory + _SLACK
    processor = int(limits.cpu) + 3
    for what, most in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CPU, processor),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 1),
    ):
        resource.setrlimit(what, (most, most))


def seal() -> None:
    """Shut the process in for good; OSError where the kernel cannot do that."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    seccomp.no_new_privileges()
    seccomp.install()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # it died before that


def _is_nobody() -> bool:
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return False
    return True


def _has_no_capabilities() -> bool:
    """Drop what root of a user namespace may do."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    return bool(_libc.capset(header, (ctypes.c_uint32 * 6)()) == 0)
