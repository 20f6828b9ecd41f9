"""The servers that everything is measured on: durable, private to this run, gone after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from pydantic import SecretStr

from bench import functions
from launch.embedded import Embedded
from launch.embedded.access import choose_port
from launch.migrate import migrate
from launch.supervisor import Child, Supervisor
from runtime.db import role_url
from runtime.keys import RootKey, create_keys, load_root_key
from runtime.settings import ROLES, Settings
from workers.main import worker_command

__all__ = ["ROOT", "Platform", "open_platform"]

ROOT = Path(__file__).parents[1]

#: Databases of the Valkey server: ours and those of the peers that use one.
_REDIS_DATABASES = {"vesicle": 0, "dramatiq": 1, "celery": 2}
#: Runs of one tenant that may wait: more than any part puts in.
_BACKLOG = 10_000_000
#: The peers that get a database of the PostgreSQL server.
_POSTGRES_PEERS = ("procrastinate", "dbos")


@dataclass(frozen=True)
class Platform:
    """PostgreSQL with two databases, one of them without row security, and Valkey."""

    home: Path
    root: RootKey
    settings: Settings
    #: The same, but on the database in which row security is off.
    unsecured: Settings
    #: Where each peer keeps its messages: Redis or PostgreSQL.
    peer_urls: Mapping[str, str] = field(repr=False)
    #: What dramatiq's command line imports in a worker.
    worker_module: str = "workers.boot:broker"

    def environment(self, settings: Settings) -> dict[str, str]:
        """Return the environment of one of our processes."""
        logins = {
            f"VESICLE_DATABASE_URL_{role.upper()}": role_url(settings, self.root, role)
            for role in ROLES
        }
        return {
            **logins,
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.home / "functions")]),
            "REDIS_URL": settings.required_redis_url(),
            "VESICLE_HOME": str(self.home),
            "VESICLE_BACKLOG": str(_BACKLOG),
        }

    @contextmanager
    def running(self, *children: Child, timeout: float = 60) -> Iterator[None]:
        """Keep processes running, once they are ready, for as long as the block lasts."""
        supervisor = Supervisor(self.home)
        try:
            for child in children:
                supervisor.start(child)
            supervisor.wait_ready(timeout)
            yield
        finally:
            supervisor.stop()

    @contextmanager
    def working(self, processes: int, more: Mapping[str, str] | None = None) -> Iterator[None]:
        """Keep a worker, `more` in its environment, and a scheduler running, both ready."""
        settings = self.settings
        worker = self.worker(settings, processes, more=more)
        with self.running(self.scheduler(settings), worker):
            yield

    def worker(
        self,
        settings: Settings,
        processes: int,
        *,
        is_awaited: bool = True,
        more: Mapping[str, str] | None = None,
    ) -> Child:
        """Return a worker, `more` in its environment; `is_awaited` until it is ready."""
        port = choose_port() if is_awaited else 0
        return Child(
            "worker",
            worker_command(processes, module=self.worker_module),
            {**self.environment(settings), "VESICLE_HEALTH_PORT": str(port), **(more or {})},
            ready_url=f"http://127.0.0.1:{port}/health/ready" if is_awaited else None,
        )

    def scheduler(self, settings: Settings) -> Child:
        """Return the clock process, without which no backlog is worked off in production."""
        port = choose_port()
        return Child(
            "scheduler",
            [sys.executable, "-m", "launch", "scheduler"],
            {**self.environment(settings), "VESICLE_HEALTH_PORT": str(port)},
            ready_url=f"http://127.0.0.1:{port}/health/ready",
        )


@contextmanager
def open_platform() -> Iterator[Platform]:
    """Start the servers and make both databases; stop and remove everything at the end."""
    above = Path(tempfile.mkdtemp(prefix="vesicle-bench-"))
    above.chmod(0o755)  # the servers of root run as somebody else
    home = above / "home"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, above, ignore_errors=True)
        embedded = Embedded(home, durable=True)
        stack.callback(embedded.down)
        servers = embedded.up()
        create_keys(home)
        _register_functions(home)
        redis_urls = {
            name: urlsplit(servers.redis_url)._replace(path=f"/{number}").geturl()
            for name, number in _REDIS_DATABASES.items()
        }
        postgres_urls = {name: embedded.create_database(name) for name in _POSTGRES_PEERS}
        settings = Settings(
            home=home,
            database_url=SecretStr(servers.owner_url),
            redis_url=SecretStr(redis_urls["vesicle"]),
            backlog=_BACKLOG,
        )
        root = load_root_key(settings)
        migrate(servers.owner_url, root)
        open_url = embedded.create_database("unsecured")
        migrate(open_url, root)
        _disable_row_security(open_url)
        unsecured = settings.model_copy(update={"database_url": SecretStr(open_url)})
        yield Platform(home, root, settings, unsecured, {**redis_urls, **postgres_urls})


def _register_functions(home: Path) -> None:
    """Make the functions that actions call here known, as an installed package would."""
    installed = home / "functions" / "bench_functions-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bench-functions\nVersion: 1.0\n"
    )
    points = "\n".join(f"bench.{name} = bench.functions:{name}" for name in functions.__all__)
    (installed / "entry_points.txt").write_text(f"[vesicle.functions]\n{points}\n")


def _disable_row_security(owner_url: str) -> None:
    """Turn row security off for everybody, the grants staying as they are."""
    with psycopg.connect(owner_url) as connection:
        tables = connection.execute(
            "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relrowsecurity"
        ).fetchall()
        for (table,) in tables:
            connection.execute(
                sql.SQL(
                    "ALTER TABLE public.{} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
                ).format(sql.Identifier(table))
            )
