"""How fast a peer works off a backlog of messages that ask for nothing."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.peers.backlog import Backlog, in_postgres, in_redis
from bench.platform import Platform
from launch.supervisor import Child
from runtime.clock import monotonic

__all__ = ["PEERS", "Peer"]

_HERE = Path(__file__).parent
#: Seconds between two looks at what is left; too seldom to be felt, often enough for 1 %.
_LOOK = 0.02
_PATIENCE = 180.0


@dataclass(frozen=True)
class Peer:
    """A task queue: its module here, its workers' commands, and how to see what is left."""

    module: str
    #: Its name among `Platform.peer_urls`.
    server: str
    #: One for each worker that is started; the arguments of the peers' Python.
    commands: Sequence[Sequence[str]]
    backlog: Backlog

    def drain(self, platform: Platform, python: Path, count: int) -> float:
        """Return messages per second over the last nine tenths of a backlog of `count`."""
        url = platform.peer_urls[self.server]
        environment = {"QUEUE_URL": url, "PATH": os.defpath, "PYTHONPATH": str(_HERE)}
        subprocess.run(
            [python, _HERE / "fill.py", self.module, str(count)], env=environment, check=True
        )
        workers = [
            Child(f"{self.module}-{number}", [str(python), *command], environment)
            for number, command in enumerate(self.commands)
        ]
        with self.backlog(url) as left, platform.running(*workers):
            return self._watch(left, count)

    def _watch(self, look: Callable[[], int], count: int) -> float:
        if look() == 0:
            raise RuntimeError(f"{self.module} had nothing to do: its backlog was not found.")
        deadline, began, first_left = monotonic() + _PATIENCE, 0.0, 0
        while (left := look()) > 0:
            moment = monotonic()
            if moment > deadline:
                raise RuntimeError(f"{self.module} left {left} of {count} messages undone.")
            if not began and left <= 0.9 * count:
                began, first_left = moment, left
            time.sleep(_LOOK)
        return first_left / (monotonic() - began)


def _dramatiq(kind: str) -> Peer:
    module = f"dramatiq_{kind}"
    command = ["-m", "dramatiq", module, "--processes", "2", "--threads", "8"]

    def left(client: redis.Redis) -> int:
        return int(client.hlen(f"dramatiq:{kind}.msgs"))

    return Peer(module, "dramatiq", [command], in_redis(left))


def _celery() -> Peer:
    def left(client: redis.Redis) -> int:
        return int(client.llen("celery")) + int(client.hlen("unacked"))

    command = [
        *("-m", "celery", "--app", "celery_tasks", "--quiet", "worker"),
        *("--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"),
    ]
    return Peer("celery_tasks", "celery", [command], in_redis(left))


def _procrastinate() -> Peer:
    # Jobs at once in a process: of 1, 8 and 32 none was clearly faster, 32 had the best median.
    command = [
        *("-m", "procrastinate", "--app", "procrastinate_tasks.app"),
        *("worker", "--concurrency", "32"),
    ]
    left = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    return Peer("procrastinate_tasks", "procrastinate", [command] * 2, in_postgres(left))


def _dbos() -> Peer:
    commands = [[str(_HERE / "dbos_tasks.py"), name] for name in ("one", "two")]
    left = "SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')"
    return Peer("dbos_tasks", "dbos", commands, in_postgres(left))


PEERS = {
    "dramatiq_sync": _dramatiq("sync"),
    "dramatiq_async": _dramatiq("async"),
    "celery": _celery(),
    "procrastinate": _procrastinate(),
    "dbos": _dbos(),
}
