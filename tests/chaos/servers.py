"""PostgreSQL and Valkey of a campaign: killed by signal, brought back when the nemesis says so.

`python -m tests.chaos.servers HOME` owns them: it starts them, then for each line on its standard
input it does what that says and answers: `revive` brings back what has died, `full` leaves no room
on their disk, `room` gives it back. It is a process of its own because starting a server blocks,
and our event loop has links and a ledger to serve meanwhile.
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
from launch.embedded.ground import make_home
from launch.embedded.ownership import Servers, announced
from tests.chaos.volume import LimitedVolume, Volume, small_volume
from tests.waiting import eventually

__all__ = ["OwnedServers"]

ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0


class OwnedServers:
    """Our handle on the process that owns the servers."""

    def __init__(self, home: Path) -> None:
        """Take a home that does not exist yet."""
        self.home = home
        #: Whether their disk is one of their own, which can be full.
        self.has_volume = False
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
        self.has_volume = await self._heard() == "up, on a volume of our own"
        servers = announced(self.home)
        assert servers is not None
        return servers

    async def revive(self) -> None:
        """Bring back what was killed; returns when it answers."""
        await self._tell("revive")

    async def fill(self) -> None:
        """Leave no room where the servers write."""
        await self._tell("full")

    async def make_room(self) -> None:
        """Give the room back, and bring back what ended for want of it."""
        await self._tell("room")
        await self.revive()

    def kill_postgres(self) -> None:
        """End PostgreSQL at once; its backends notice and end themselves."""
        os.kill(_postmaster(self._folder), signal.SIGKILL)

    def valkey_folder(self) -> Path:
        """Return where Valkey keeps its files."""
        return self._folder / "valkey"

    async def kill_valkey(self, *, lose: bool) -> None:
        """End Valkey at once; `lose` its files, too."""
        servers = announced(self.home)
        assert servers is not None
        with redis.Redis.from_url(servers.redis_url) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        if lose:
            await eventually(lambda: not _lives(pid))
            for path in self.valkey_folder().iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def close(self) -> None:
        """Stop the servers."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()

    @property
    def _folder(self) -> Path:
        """The servers' directory, as their owner sees it: we do not see its volume."""
        assert self._process is not None
        place = (self.home / "servers").resolve()
        return Path(f"/proc/{self._process.pid}/root") / place.relative_to("/")

    async def _tell(self, what: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._one_at_a_time:
            self._process.stdin.write(f"{what}\n".encode())
            await self._heard()

    async def _heard(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            while not (line := await self._process.stdout.readline()).startswith(b"up"):
                assert line, "the servers did not come up; their logs say why"
        return line.decode().strip()


def _postmaster(folder: Path) -> int:
    (pidfile,) = folder.glob("postgres-*/postmaster.pid")
    return int(pidfile.read_text().split("\n", 1)[0])


def _lives(pid: int) -> bool:
    """Return whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _own(home: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the campaign, which tells us
    servers = make_home(home) / "servers"
    volume: Volume = small_volume(servers) or LimitedVolume(lambda: _postmaster(servers.resolve()))
    embedded = Embedded(home, durable=True)
    duties = {"revive": embedded.watch, "full": volume.fill, "room": volume.make_room}
    try:
        embedded.up()
        _say("up, on a volume of our own" if volume.is_real else "up")
        for line in sys.stdin:
            duties[line.strip()]()
            _say("up")
    finally:
        embedded.down()


if __name__ == "__main__":
    _own(Path(sys.argv[1]))
