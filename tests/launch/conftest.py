"""Homes and processes for the tests of what starts and stops processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import redis
import structlog

from launch.embedded import Embedded, Servers

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def logging_as_it_comes():
    """Every line is logged, whatever the session's own processes were told to leave out."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def make_home():
    """Makes homes that any user can reach: pytest's own folders are closed to all but us."""
    with contextlib.ExitStack() as cleanup:

        def make() -> Path:
            above = Path(tempfile.mkdtemp(prefix="vesicle-"))
            cleanup.callback(shutil.rmtree, above)
            above.chmod(0o755)
            return above / "home"

        yield make


@pytest.fixture(scope="session")
def initialised_home(make_home):
    """A home whose servers have run once."""
    home = make_home()
    embedded = Embedded(home)
    embedded.up()
    embedded.down()
    return home


class Store:
    """One row and one key, to see whether they survive."""

    def write(self, servers: Servers, value: str) -> None:
        with psycopg.connect(servers.owner_url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
            connection.execute("INSERT INTO kept VALUES (%s)", [value])
        with redis.Redis.from_url(servers.redis_url) as client:
            client.set(value, "kept")

    def has(self, servers: Servers, value: str) -> bool:
        with psycopg.connect(servers.owner_url) as connection:
            rows = connection.execute("SELECT FROM kept WHERE value = %s", [value]).fetchall()
        with redis.Redis.from_url(servers.redis_url) as client:
            return len(rows) == 1 and client.get(value) == b"kept"


@pytest.fixture
def store():
    return Store()


class Owner:
    """A process started from owner.py."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("owner.py"), home, *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def servers(self) -> Servers:
        return Servers(**json.loads(self.process.stdout.readline()))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        self.process.communicate()


@pytest.fixture
def start_owner():
    """Starts owners; those that a test leaves running stop their servers and end."""
    with contextlib.ExitStack() as cleanup:

        def start(home: Path, *options: str) -> Owner:
            owner = Owner(home, *options)
            cleanup.callback(owner.finish)
            return owner

        yield start


@pytest.fixture(scope="session")
def eventually():
    """Waits until a condition holds."""

    def wait(condition, timeout: float = 15) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def is_gone():
    """Tells whether a process has ended; a zombie has."""

    def gone(pid: int) -> bool:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return state.stdout.strip()[:1] in {"", "Z"}

    return gone
