"""The operating-system user as whom the embedded servers run.

PostgreSQL refuses to run as root, so root's servers run as `nobody`. Whether that user can reach
a directory or run a program is asked by trying it: modes, access lists and mounts all count.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.lifeline import dies_with_us

__all__ = ["ENVIRONMENT", "Account"]

#: The servers' and their tools' whole environment: nothing of ours is theirs to see.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Account:
    """A user and a group to switch to; both None when servers run as ourselves."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def for_servers(cls) -> Account:
        """Return `nobody` for root, and for everyone else themselves."""
        if os.geteuid() != 0:
            return cls()
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def groups(self) -> list[int] | None:
        """Further groups: none at all after a switch."""
        return None if self.uid is None else []

    def give(self, path: Path) -> None:
        """Make a file or directory this account's own."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, directory: Path) -> bool:
        """Tell whether this account can reach what lies in `directory`."""
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", directory]).returncode == 0

    def version(self, program: Path) -> str | None:
        """Return what `program --version` prints, or None if this account cannot run it."""
        try:
            done = self.run([program, "--version"])
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def run(
        self, argv: Sequence[str | Path], *, lock: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool as this account to its end and return what it printed.

        It ends if we do; whatever it leaves running even then holds the file descriptor `lock`.
        """
        return subprocess.run(  # noqa: S603 - every caller passes a fixed tool and our own paths
            argv,
            user=self.uid,
            group=self.gid,
            extra_groups=self.groups,
            env=ENVIRONMENT,
            cwd="/",
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=() if lock is None else (lock,),
            preexec_fn=dies_with_us(signal.SIGKILL),  # we start no threads
            text=True,
            check=False,
        )
