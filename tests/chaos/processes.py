"""The product's processes of a campaign, each behind links of its own to both servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx2

from launch.guard import Guard, kill_group
from runtime.clock import monotonic
from runtime.db import role_url
from runtime.keys import RootKey
from runtime.settings import Role, Settings
from tests.chaos.link import Link
from tests.waiting import eventually

__all__ = ["GRACE", "LEASE", "ROOT", "SLOTS", "Kind", "Process", "Processes"]

ROOT = Path(__file__).parents[2]

Kind = Literal["api", "worker", "scheduler"]
_LOGINS: Mapping[Kind, Sequence[Role]] = {
    "api": ("authenticator", "runtime", "manager", "proxy"),
    "worker": ("worker",),
    "scheduler": ("scheduler", "worker"),
}

#: The lease that operators get by default, and a grace short enough to be outlived by some runs.
LEASE, GRACE = 10.0, 1.0
#: Runs that a worker holds at once: few, so that some wait in the queue when something strikes.
SLOTS = 12
#: Seconds after a fault in which a process has to be ready again, on a machine that is busy.
_READY_SECONDS = 30.0


@dataclass
class Process:
    """One process, its links and the port on which it says how it does."""

    name: str
    kind: Kind
    port: int
    postgres: Link
    valkey: Link
    environment: Mapping[str, str] = field(repr=False)
    #: The folder whose code it runs.
    code: Path = ROOT
    handle: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and whatever it forked."""
        assert self.handle is not None
        kill_group(self.handle.pid, number)


class Processes:
    """Two of each kind; started, signalled, started again and ended with the campaign."""

    def __init__(
        self,
        settings: Settings,
        root: RootKey,
        folder: Path,
        functions: Path,
        other: Path | None = None,
    ) -> None:
        """Take the servers' settings, a folder for logs and the one of the functions.

        `other` is a folder with another version's code, which the second of each kind runs.
        """
        self.all: list[Process] = []
        #: Processes that ended by themselves or hung; each was started again.
        self.deaths: list[str] = []
        self.root = root
        self._settings = settings
        self._folder = folder
        self._functions = functions
        self._code = {1: ROOT, 2: other or ROOT}
        self._guard = Guard()
        self._http = httpx2.AsyncClient(timeout=2, trust_env=False)

    async def open(self, outside: Sequence[int]) -> None:
        """Start everything and wait until it is ready; `outside` are ports of outside apps."""
        for kind in _LOGINS:
            for number in (1, 2):
                self.all.append(await self._prepare(kind, number, outside))
        for process in self.all:
            self.start(process)
        await self.ready()

    def of(self, kind: Kind) -> list[Process]:
        """Return the processes of a kind."""
        return [process for process in self.all if process.kind == kind]

    def links(self) -> list[Link]:
        """Return every link."""
        return [link for process in self.all for link in (process.postgres, process.valkey)]

    def start(self, process: Process) -> None:
        """Start a process, or start it again."""
        command = [sys.executable, "-m", "launch", process.kind]
        with (self._folder / f"{process.name}.log").open("ab") as log:
            process.handle = subprocess.Popen(
                command,
                cwd=process.code,
                env=dict(process.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._guard.enlist(),  # noqa: PLW1509 - we start no threads
            )
        self._guard.add(process.handle.pid)

    async def kill(self, process: Process) -> None:
        """End a process and its children at once, as a machine that loses power does."""
        assert process.handle is not None
        process.signal(signal.SIGKILL)
        await self.ended(process)

    async def ended(self, process: Process, *, within: float = 30.0) -> float:
        """Wait for a process that was signalled to end; return the seconds that took."""
        assert process.handle is not None
        since = monotonic()
        handle = process.handle
        with contextlib.suppress(AssertionError):
            await eventually(lambda: handle.poll() is not None, seconds=within)
        process.signal(signal.SIGKILL)  # it, if it does not end, and what it left behind
        process.handle.wait()
        self._guard.discard(process.handle.pid)
        return monotonic() - since

    async def ready(self) -> None:
        """Wait until every process says that it is ready; note and replace those that never do."""
        for process in self.all:
            deadline = monotonic() + _READY_SECONDS
            while not await self._is_ready(process):
                assert process.handle is not None
                if (status := process.handle.poll()) is not None:
                    self.deaths.append(f"{process.name} ended with {status}")
                    self.start(process)
                elif monotonic() > deadline:
                    self.deaths.append(f"{process.name} did not get ready again")
                    deadline = monotonic() + _READY_SECONDS
                    process.signal(signal.SIGABRT)  # it writes into its log what it was at
                    await self.ended(process, within=2.0)
                    await self.kill(process)
                    self.start(process)
                await asyncio.sleep(0.1)

    def limit_files(self, size: int | None) -> None:
        """Let our processes write no file beyond a size, which is what a full volume is to them."""
        soft = resource.RLIM_INFINITY if size is None else size
        groups = {process.handle.pid for process in self.all if process.handle is not None}
        for pid in _members(groups):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    async def lost_lines(self) -> int:
        """Return how many lines of their logs our workers and schedulers say they lost."""
        lost = 0.0
        for process in (*self.of("worker"), *self.of("scheduler")):
            with contextlib.suppress(httpx2.TransportError):
                page = (await self._http.get(f"{process.url}/metrics")).text
                found = re.search(r"^vesicle_log_lines_lost_total (\S+)$", page, re.MULTILINE)
                lost += float(found[1]) if found else 0.0
        return int(lost)

    async def close(self) -> None:
        """End everything."""
        for process in self.all:
            if process.handle is not None:
                await self.kill(process)
        for link in self.links():
            await link.close()
        self._guard.close()
        await self._http.aclose()

    async def _is_ready(self, process: Process) -> bool:
        try:
            answer = await self._http.get(f"{process.url}/health/ready")
        except httpx2.TransportError:
            return False
        # An API without Redis is ready, but degraded; here everything has to be back.
        return answer.status_code == 200 and "degraded" not in answer.text

    async def _prepare(self, kind: Kind, number: int, outside: Sequence[int]) -> Process:
        settings, name, code = self._settings, f"{kind}-{number}", self._code[number]
        redis_url = urlsplit(settings.required_redis_url())
        urls = {role: urlsplit(role_url(settings, self.root, role)) for role in _LOGINS[kind]}
        postgres = Link(f"{name} to PostgreSQL", next(iter(urls.values())).port or 0)
        valkey = Link(f"{name} to Valkey", redis_url.port or 0)
        await postgres.open()
        await valkey.open()
        port = _free_port()
        logins = {
            f"VESICLE_DATABASE_URL_{role.upper()}": _at_port(url.geturl(), postgres.port)
            for role, url in urls.items()
        }
        environment = {
            **logins,
            "PATH": os.environ["PATH"],
            "PYTHONFAULTHANDLER": "1",
            "PYTHONPATH": os.pathsep.join([str(self._functions), str(code)]),
            "REDIS_URL": _at_port(redis_url.geturl(), valkey.port),
            "VESICLE_HOME": str(settings.home),
            "VESICLE_PORT": str(port),
            # The API says on its own port how it does.
            "VESICLE_HEALTH_PORT": "0" if kind == "api" else str(port),
            "VESICLE_LEASE": str(LEASE),
            "VESICLE_GRACE": str(GRACE),
            "VESICLE_SLOTS": str(SLOTS),
            "VESICLE_EGRESS_ALLOW": ",".join(f"127.0.0.1:{port}" for port in outside),
            "VESICLE_EGRESS_HTTP": "true",
        }
        return Process(name, kind, port, postgres, valkey, environment, code)


def _members(groups: Collection[int]) -> list[int]:
    """Return the processes of these groups."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(int(folder.name)) in groups:
                found.append(int(folder.name))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    login, _, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
