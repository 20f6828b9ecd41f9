"""How fast a peer works off a backlog of messages that ask for nothing."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

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
    """A task queue: its module here, its worker's command, and how to see what is left."""

    module: str
    database: str
    command: Sequence[str]
    left: Callable[[redis.Redis], int]

    def drain(self, platform: Platform, python: Path, count: int) -> float:
        """Return messages per second over the last nine tenths of a backlog of `count`."""
        url = platform.redis_urls[self.database]
        environment = {"REDIS_URL": url, "PATH": os.defpath, "PYTHONPATH": str(_HERE)}
        subprocess.run(
            [python, _HERE / "fill.py", self.module, str(count)], env=environment, check=True
        )
        worker = Child(self.module, [str(python), "-m", *self.command], environment)
        with redis.Redis.from_url(url) as client, platform.running(worker):
            return self._watch(client, count)

    def _watch(self, client: redis.Redis, count: int) -> float:
        if self.left(client) == 0:
            raise RuntimeError(f"{self.module} had nothing to do: its backlog was not found.")
        deadline, began, first_left = monotonic() + _PATIENCE, 0.0, 0
        while (left := self.left(client)) > 0:
            moment = monotonic()
            if moment > deadline:
                raise RuntimeError(f"{self.module} left {left} of {count} messages undone.")
            if not began and left <= 0.9 * count:
                began, first_left = moment, left
            time.sleep(_LOOK)
        return first_left / (monotonic() - began)


def _of_dramatiq(queue: str) -> Callable[[redis.Redis], int]:
    return lambda client: int(client.hlen(f"dramatiq:{queue}.msgs"))


def _of_celery(client: redis.Redis) -> int:
    return int(client.llen("celery")) + int(client.hlen("unacked"))


def _dramatiq(kind: str) -> Peer:
    module = f"dramatiq_{kind}"
    command = ["dramatiq", module, "--processes", "2", "--threads", "8"]
    return Peer(module, "dramatiq", command, _of_dramatiq(kind))


PEERS = {
    "dramatiq_sync": _dramatiq("sync"),
    "dramatiq_async": _dramatiq("async"),
    "celery": Peer(
        "celery_tasks",
        "celery",
        [
            *("celery", "--app", "celery_tasks", "--quiet", "worker"),
            *("--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"),
        ],
        _of_celery,
    ),
}
