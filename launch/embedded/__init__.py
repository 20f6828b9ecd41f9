"""Real PostgreSQL and Valkey without an installation: ours to start, watch and stop.

    embedded = Embedded(home)
    servers = embedded.up()
    ...
    embedded.down()

The first process of a home owns the servers, which end when it does, however it ends. Those that
come later attach to them.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from launch.embedded import databases
from launch.embedded.access import Access, choose_port
from launch.embedded.ground import Ground, make_home
from launch.embedded.ownership import OwnerLock, Servers, announce, announced, withdraw
from launch.embedded.postgres import Postgres, accepts_login
from launch.embedded.valkey import Valkey, answers_ping
from runtime.clock import monotonic
from runtime.errors import ConfigurationError, ServiceUnavailableError

__all__ = ["Embedded", "Servers"]

log = structlog.get_logger()

#: Seconds that a process waits for another one to have started the servers of this home.
ATTACH_SECONDS = 90.0
LOOK_SECONDS = 0.05


class Embedded:
    """The servers of one home."""

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        """Take the home. `durable=False` gives up safety at power cuts for speed, as tests like."""
        self._home = home
        self._durable = durable
        self._lock = OwnerLock(home / "owner.lock")
        self._servers: Servers | None = None
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None

    def up(self) -> Servers:
        """Start the servers, or attach to those that another process of this home has started.

        Returns when both answer. Call it from the main thread: the servers end with the thread.
        Raises ConfigurationError for programs or data that do not fit, ServiceUnavailableError if
        a server does not come up.
        """
        if self._servers is not None:
            return self._servers
        self._home = make_home(self._home)
        deadline = monotonic() + ATTACH_SECONDS
        while True:
            if self._lock.acquire():
                self._servers = self._start()
            else:
                self._servers = self.running()
            if self._servers is not None:
                return self._servers
            if monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"Another process owns {self._home}, but its servers do not answer"
                )
            time.sleep(LOOK_SECONDS)

    def running(self) -> Servers | None:
        """Return this home's servers if they run and answer; start nothing."""
        servers = announced(self._home)
        return servers if servers is not None and _answer(servers) else None

    def watch(self) -> None:
        """Start a server that died again, at its old URL. Does nothing in a process that attached.

        Raises ServiceUnavailableError if it does not come back.
        """
        for server in (self._postgres, self._valkey):
            status = None if server is None else server.ended()
            if server is not None and status is not None:
                log.warning("a server ended; starting it again", server=server.name, status=status)
                server.start(keep_port=True)

    def down(self) -> None:
        """Stop the servers if this process started them."""
        self._servers = None
        if not self._lock.held:
            return
        withdraw(self._home)
        try:
            for server in (self._valkey, self._postgres):
                if server is not None:
                    server.stop()
        finally:
            self._postgres = self._valkey = None
            self._lock.release()

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, if wanted as a copy of `template`; return its owner's URL.

        To be called between `up` and `down`.
        """
        servers = self.up()
        databases.create(servers.admin_url, name, template)
        return urlsplit(servers.owner_url)._replace(path=f"/{name}").geturl()

    def drop_database(self, name: str) -> None:
        """Drop a database that `create_database` made, and end whoever is connected to it."""
        databases.drop(self.up().admin_url, name)

    def _start(self) -> Servers:
        withdraw(self._home)  # the word of an owner that died
        with contextlib.ExitStack() as undo:
            undo.callback(self.down)
            ground = Ground.prepare(self._home, durable=self._durable)
            kept = self._home / "access.json"
            access = Access.load(kept)
            known = access is not None
            access = access or Access(choose_port(), choose_port())
            postgres = Postgres(ground, access.postgres_port, access.admin_password)
            valkey = Valkey(ground, access.valkey_port, access.valkey_password)
            if postgres.exists and not known:
                raise ConfigurationError(
                    f"{kept} is gone, and with it the passwords of the data in {ground.servers}"
                )
            if not known:
                access.save(kept)
            self._postgres, self._valkey = postgres, valkey
            postgres.start()
            valkey.start()
            access = replace(access, postgres_port=postgres.port, valkey_port=valkey.port)
            access.save(kept)
            databases.bootstrap(postgres.admin_url, access.owner_password)
            owner_url = postgres.url(databases.OWNER, access.owner_password, databases.DATABASE)
            servers = Servers(postgres.admin_url, owner_url, valkey.url)
            announce(self._home, servers)
            undo.pop_all()
        return servers


def _answer(servers: Servers) -> bool:
    return accepts_login(servers.owner_url) and answers_ping(servers.redis_url)
