"""The embedded servers when something is killed at the worst moment."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from launch.embedded import Embedded
from runtime.errors import ServiceUnavailableError


@pytest.fixture
def embedded(initialised_home):
    """Running servers that this process owns."""
    embedded = Embedded(initialised_home)
    embedded.up()
    yield embedded
    embedded.down()


def postmaster(home: Path) -> int:
    (file,) = (home / "servers").glob("postgres-*/postmaster.pid")
    return int(file.read_text().split()[0])


def valkey(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return client.info("server")["process_id"]


def test_a_killed_owner_takes_its_servers_along(
    initialised_home, start_owner, store, eventually, is_gone
):
    """kill -9 of the owner ends both servers; the next start has every committed row."""
    owner = start_owner(initialised_home)
    before = owner.servers()
    store.write(before, "killed-owner")
    pids = [postmaster(initialised_home), valkey(before.redis_url)]
    owner.kill()
    eventually(lambda: all(map(is_gone, pids)))
    embedded = Embedded(initialised_home)
    try:
        assert embedded.up() == before
        assert store.has(before, "killed-owner")
    finally:
        embedded.down()


def test_a_start_right_after_the_kill_waits_its_turn(initialised_home, start_owner, store):
    """A new owner waits for servers that are still shutting down, and uses the same ports."""
    owner = start_owner(initialised_home)
    before = owner.servers()
    store.write(before, "right-after")
    owner.kill()
    embedded = Embedded(initialised_home)
    try:
        assert embedded.up() == before
        assert store.has(before, "right-after")
    finally:
        embedded.down()


def test_servers_that_outlive_their_owner_are_replaced(
    initialised_home, start_owner, store, is_gone
):
    """Where the kernel does not end orphans, the next start asks them to and takes over."""
    owner = start_owner(initialised_home, "untied")
    before = owner.servers()
    store.write(before, "orphans")
    pids = [postmaster(initialised_home), valkey(before.redis_url)]
    owner.kill()
    assert not any(map(is_gone, pids))
    embedded = Embedded(initialised_home)
    try:
        assert embedded.up() == before
        assert all(map(is_gone, pids))
        assert store.has(before, "orphans")
    finally:
        embedded.down()


def test_an_owner_killed_during_its_first_start_leaves_a_usable_home(
    make_home, start_owner, eventually
):
    """Half a database cluster is thrown away, never used."""
    home = make_home()
    owner = start_owner(home)
    eventually((home / "servers" / "new-cluster" / "PG_VERSION").exists)
    owner.kill()
    embedded = Embedded(home)
    try:
        with psycopg.connect(embedded.up().owner_url) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("vesicle",)
    finally:
        embedded.down()


def test_a_killed_postmaster_comes_back(embedded, initialised_home, store, eventually):
    """kill -9 of PostgreSQL under a live session: `watch` restarts it with every committed row."""
    servers = embedded.up()
    store.write(servers, "killed-postmaster")
    pid = postmaster(initialised_home)
    with psycopg.connect(servers.owner_url) as session:
        session.execute("INSERT INTO kept VALUES ('never committed')")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: embedded.watch() or postmaster(initialised_home) != pid)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert embedded.up() == servers
    assert store.has(servers, "killed-postmaster")
    with psycopg.connect(servers.owner_url) as connection:
        lost = "SELECT count(*) FROM kept WHERE value = 'never committed'"
        assert connection.execute(lost).fetchone() == (0,)


def test_a_killed_valkey_comes_back(embedded, store, eventually):
    """kill -9 of Valkey: `watch` restarts it at its port with what it had answered for."""
    servers = embedded.up()
    store.write(servers, "killed-valkey")
    os.kill(valkey(servers.redis_url), signal.SIGKILL)
    eventually(lambda: embedded.watch() or embedded.running() is not None)
    assert embedded.up() == servers
    assert store.has(servers, "killed-valkey")


def test_a_server_that_cannot_come_back_is_an_error(embedded, eventually):
    """Running processes know one URL only, so `watch` does not move a server to another port."""
    servers = embedded.up()
    port = urlsplit(servers.redis_url).port
    os.kill(valkey(servers.redis_url), signal.SIGKILL)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        eventually(lambda: taken.connect_ex(("127.0.0.1", port)) != 0)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ServiceUnavailableError, match=f"its port {port} was taken"):
            eventually(embedded.watch)


def test_four_starters_get_one_owner(make_home, start_owner):
    """Four processes that start an empty home at once end up with the same servers."""
    home = make_home()
    starters = [start_owner(home) for _ in range(4)]
    urls = {starter.servers() for starter in starters}
    assert len(urls) == 1
    announced = (home / "runtime.json").read_text()
    owners = [s for s in starters if f'"owner_pid": {s.process.pid}' in announced]
    assert len(owners) == 1
    for starter in starters:
        if starter not in owners:
            starter.finish()
    assert Embedded(home).running() in urls
