"""PostgreSQL and Valkey of a campaign: killed by signal, brought back when the nemesis says so.

`python -m tests.chaos.servers HOME` owns them: it starts them, then for each line on its standard
input it brings back what has died, and says so. It is a process of its own because starting a
server blocks, and our event loop has links and a ledger to serve meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import redis

from launch.embedded import Embedded
from launch.embedded.ownership import Servers, announced
from tests.waiting import eventually

__all__ = ["OwnedServers"]

ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0


class OwnedServers:
    """Our handle on the process that owns the servers."""

    def __init__(self, home: Path) -> None:
        """Take a home that does not exist yet."""
        self.home = home
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> Servers:
        """Start both servers, durable; return how to reach them."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.servers",
            str(self.home),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        await self._heard()
        servers = announced(self.home)
        assert servers is not None
        return servers

    async def revive(self) -> None:
        """Bring back what was killed; returns when it answers."""
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._one_at_a_time:
            self._process.stdin.write(b"revive\n")
            await self._heard()

    def kill_postgres(self) -> None:
        """End PostgreSQL at once; its backends notice and end themselves."""
        (pidfile,) = (self.home / "servers").resolve().glob("postgres-*/postmaster.pid")
        os.kill(int(pidfile.read_text().split("\n", 1)[0]), signal.SIGKILL)

    async def kill_valkey(self, *, lose: bool) -> None:
        """End Valkey at once; `lose` its files, too."""
        servers = announced(self.home)
        assert servers is not None
        with redis.Redis.from_url(servers.redis_url) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        if lose:
            await eventually(lambda: not _lives(pid))
            folder = (self.home / "servers").resolve() / "valkey"
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def close(self) -> None:
        """Stop the servers."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()

    async def _heard(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            while (line := await self._process.stdout.readline()) != b"up\n":
                assert line, "the servers did not come up; their logs say why"


def _lives(pid: int) -> bool:
    """Return whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _say_up() -> None:
    sys.stdout.write("up\n")
    sys.stdout.flush()


def _own(home: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the campaign, which tells us
    embedded = Embedded(home, durable=True)
    try:
        embedded.up()
        _say_up()
        for _ in sys.stdin:
            embedded.watch()
            _say_up()
    finally:
        embedded.down()


if __name__ == "__main__":
    _own(Path(sys.argv[1]))
