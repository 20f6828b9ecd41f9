"""The embedded Valkey server."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from launch.embedded import binaries
from launch.embedded.ground import Ground
from launch.embedded.server import Server

__all__ = ["Valkey", "answers_ping"]


class Valkey(Server):
    """Valkey on loopback TCP with a password; it keeps its data in an append-only file."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, ground: Ground, port: int, password: str) -> None:
        """Find the program; raises ConfigurationError if there is none."""
        super().__init__(ground, port)
        self._password = password
        self._program = binaries.valkey(ground).path
        self._data = ground.servers / "valkey"

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def prepare(self, lock: int) -> None:  # noqa: ARG002 - needs no tool
        """Make the data directory."""
        self.ground.make_private(self._data)

    def command(self) -> Sequence[str | Path]:
        """Return a command line that takes the whole configuration from standard input."""
        return [self._program, "-"]

    def input(self) -> bytes:
        """Return the configuration; it holds the password, so it is no argument and no file."""
        return "\n".join(
            (
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self._password}",
                f"dir {json.dumps(str(self._data), ensure_ascii=False)}",
                f"appendonly {'yes' if self.ground.durable else 'no'}",
                "appendfsync everysec",
                'save ""',
                "maxmemory-policy noeviction",  # a full server refuses; it never forgets a message
                "",
            )
        ).encode()

    def answers(self) -> bool:
        """PING; a server that still reads its file does not answer yet."""
        return answers_ping(self.url)

    def evict(self) -> None:
        """Ask the server on our port to save and end; only one with our password obeys."""
        with contextlib.suppress(redis.RedisError), _connect(self.url) as client:
            client.shutdown()


def answers_ping(url: str) -> bool:
    """Tell whether Valkey lets us in and answers now."""
    try:
        with _connect(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _connect(url: str) -> redis.Redis:
    """Return a client that tries once; by default it would try for seconds."""
    return redis.Redis.from_url(url, socket_timeout=2, retry=Retry(NoBackoff(), 0))
