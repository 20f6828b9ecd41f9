"""The system calls that a run's process may still make; the kernel refuses it all others.

A filter in the kernel's classic BPF, installed for good (seccomp(2)). What is left reads, writes
and waits on what is open already, and manages memory that cannot be executed. There is no way to
open a file, make a socket, start or signal a process, or look at one.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

__all__ = ["install", "no_new_privileges"]

#: Numbers by machine, from the kernel's syscall tables; and how the kernel names the machine.
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "poll": 7, "munmap": 11, "brk": 12, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
        "exit": 60, "gettimeofday": 96, "time": 201, "futex": 202, "restart_syscall": 219,
        "clock_gettime": 228, "clock_getres": 229, "exit_group": 231, "ppoll": 271,
        "getrandom": 318, "mmap": 9, "mprotect": 10,
    },
    "aarch64": {
        "close": 57, "read": 63, "write": 64, "ppoll": 73, "exit": 93, "exit_group": 94,
        "futex": 98, "clock_gettime": 113, "clock_getres": 114, "sched_yield": 124,
        "restart_syscall": 128, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
        "gettimeofday": 169, "brk": 214, "munmap": 215, "mremap": 216, "madvise": 233,
        "getrandom": 278, "mmap": 222, "mprotect": 226,
    },
}  # fmt: skip
#: Allowed unless the memory is to be executed: the third argument holds the protection.
_WITHOUT_EXEC = frozenset({"mmap", "mprotect"})
_PROT_EXEC = 4

#: From linux/bpf_common.h, linux/seccomp.h and linux/prctl.h.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # EPERM
_AT_NUMBER, _AT_MACHINE, _AT_THIRD_ARGUMENT = 0, 4, 32
_X32 = 0x40000000
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38

_libc = ctypes.CDLL(None, use_errno=True)


def no_new_privileges() -> None:
    """Give up for good to gain rights by starting programs; OSError if the kernel cannot do it."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0)


def install() -> None:
    """Shut this process and its threads in, for good; OSError where that cannot be done."""
    program = _program(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _prctl(option: int, first: int, second: int | bytes) -> None:
    end = ctypes.c_ulong(0)
    given = ctypes.c_ulong(second) if isinstance(second, int) else ctypes.c_char_p(second)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(first), given, end, end) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _program(machine: str) -> bytes:
    """Return the filter: a list of `{code, if true skip, if false skip, value}`."""
    if machine not in _AUDIT:
        raise OSError(f"there is no list of system calls for {machine}")
    steps = [
        _step(_LOAD, _AT_MACHINE),
        _step(_JUMP_EQUAL, _AUDIT[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_NUMBER),
        _step(_JUMP_GREATER_EQUAL, _X32, 0, 1),
        _step(_RETURN, _KILL),
    ]
    for name, number in _NUMBERS[machine].items():
        if name in _WITHOUT_EXEC:
            steps += [
                _step(_JUMP_EQUAL, number, 0, 4),
                _step(_LOAD, _AT_THIRD_ARGUMENT),
                _step(_JUMP_SET, _PROT_EXEC, 0, 1),
                _step(_RETURN, _REFUSE),
                _step(_RETURN, _ALLOW),
            ]
        else:
            steps += [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    return b"".join([*steps, _step(_RETURN, _REFUSE)])


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)
