"""A disk that can be full.

Where we may (as root, or in a user namespace) the servers get a file system of their own, whose
size is what it holds while it is full: what they meet is ENOSPC, for data, WAL and Valkey's file.
Elsewhere PostgreSQL is forbidden to write to any file, by a limit that needs no right at all: then
it meets EFBIG, and only the end that a full WAL disk comes to can be tried.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from launch.embedded.account import Account

__all__ = ["LimitedVolume", "Volume", "small_volume"]

_NEW_MOUNTS, _NEW_USERS = 0x0002_0000, 0x1000_0000
_REMOUNT, _RECURSIVE, _PRIVATE = 0x20, 0x4000, 0x4_0000
#: Bytes that it may hold while it is not full.
_ROOM = 8 << 30
_PAGE = 4096


class Volume(Protocol):
    """Where servers write."""

    @property
    def is_real(self) -> bool:
        """Whether it is a file system that is full, or only looks so."""

    def fill(self) -> None:
        """Leave no room."""

    def make_room(self) -> None:
        """Give the room back."""


class SmallVolume:
    """A file system in memory, at a directory, seen by this process and its children only."""

    is_real: ClassVar[bool] = True

    def __init__(self, place: Path) -> None:
        """Mount it; OSError where that is not allowed."""
        self._place = place
        libc = ctypes.CDLL(None, use_errno=True)
        self._mount_call, user, group = libc.mount, os.getuid(), os.getgid()
        namespaces = _NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USERS
        if libc.unshare(namespaces) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        if user != 0:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        self._mount(Path("/"), _RECURSIVE | _PRIVATE)
        place.mkdir(exist_ok=True)
        self._mount(place, 0, f"size={_ROOM},mode=0711")

    def fill(self) -> None:
        """Make it as large as what it holds."""
        for slack in range(0, 4096, 16):
            held = os.statvfs(self._place)
            size = (held.f_blocks - held.f_bfree) * held.f_frsize + slack * _PAGE
            try:
                self._mount(self._place, _REMOUNT, f"size={size}")
            except OSError:  # it holds more by now
                continue
            return
        raise OSError("The volume does not stand still.")

    def make_room(self) -> None:
        """Make it as large as it was."""
        self._mount(self._place, _REMOUNT, f"size={_ROOM}")

    def _mount(self, place: Path, flags: int, data: str = "") -> None:
        given = (b"tmpfs", os.fsencode(place), b"tmpfs", flags, data.encode() or None)
        if self._mount_call(*given) != 0:
            raise OSError(ctypes.get_errno(), "mount")


class LimitedVolume:
    """Any disk, to which PostgreSQL may write nothing more for a while."""

    is_real: ClassVar[bool] = False

    def __init__(self, postmaster: Callable[[], int]) -> None:
        """Take what finds PostgreSQL's first process."""
        self._postmaster = postmaster

    def fill(self) -> None:
        """Forbid PostgreSQL's processes to write to files."""
        self._limit("0")

    def make_room(self) -> None:
        """Allow it again."""
        self._limit("unlimited")

    def _limit(self, size: str) -> None:
        """Limit the postmaster, whose children inherit it, and the children that are there."""
        try:
            first = self._postmaster()
        except (ValueError, FileNotFoundError):  # it has ended
            return
        for pid in (first, *_children(first)):
            # By its own account, which needs no right to do so to itself.
            Account.for_servers().run(["/usr/bin/prlimit", f"--pid={pid}", f"--fsize={size}:"])


def _children(of: int) -> list[int]:
    tasks = Path(f"/proc/{of}/task/{of}/children")
    return [int(pid) for pid in tasks.read_text().split()] if tasks.exists() else []


def small_volume(place: Path) -> Volume | None:
    """Return a volume of our own at a directory that does not exist yet, or None if we may not."""
    try:
        return SmallVolume(place) if sys.platform == "linux" else None
    except OSError:
        return None
