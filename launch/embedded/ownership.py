"""Who owns the servers of a home, and how everybody else finds them."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from launch.embedded.access import write_private

__all__ = ["OwnerLock", "Servers", "announce", "announced", "withdraw"]


@dataclass(frozen=True)
class Servers:
    """URLs with passwords of the running servers; they never show in a repr."""

    #: PostgreSQL's superuser, for bootstrapping only.
    admin_url: str = field(repr=False)
    #: The role that owns the database and migrates it: this is DATABASE_URL.
    owner_url: str = field(repr=False)
    redis_url: str = field(repr=False)


class OwnerLock:
    """Held by the one process that starts and stops a home's servers.

    The kernel frees it at any kind of death, so it can be neither stale nor forged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether we are the owner."""
        return self._file is not None

    def acquire(self) -> bool:
        """Become the owner if nobody else is."""
        file = open(self._path, "a", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 - open means held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Stop being the owner."""
        if self._file is not None:
            self._file.close()
            self._file = None


def announce(home: Path, servers: Servers) -> None:
    """Tell other processes of this user where the servers are."""
    write_private(home / "runtime.json", asdict(servers) | {"owner_pid": os.getpid()})


def announced(home: Path) -> Servers | None:
    """Return what the owner announced; a dead owner's word may still be there."""
    try:
        said = json.loads((home / "runtime.json").read_text())
    except FileNotFoundError:
        return None
    return Servers(said["admin_url"], said["owner_url"], said["redis_url"])


def withdraw(home: Path) -> None:
    """Take the announcement back."""
    (home / "runtime.json").unlink(missing_ok=True)
