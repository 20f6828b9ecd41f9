"""The embedded PostgreSQL server."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import psycopg

from launch.embedded import binaries
from launch.embedded.ground import Ground
from launch.embedded.server import Server
from runtime.errors import ConfigurationError, ServiceUnavailableError

__all__ = ["ADMIN", "Postgres", "accepts_login"]

#: PostgreSQL's superuser, for bootstrapping only.
ADMIN = "vesicle_admin"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "password_encryption": "scram-sha-256",
}
#: What tests do without: nothing here has to survive a power cut.
FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

#: From this major version on the C.UTF-8 locale is built in and needs nothing of the system.
BUILTIN_LOCALE_SINCE = 17


class Postgres(Server):
    """PostgreSQL on loopback TCP, by password only; its directory is named after its version."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": disconnect everybody, write a checkpoint, end

    def __init__(self, ground: Ground, port: int, password: str) -> None:
        """Find the program.

        Raises ConfigurationError if there is none, or if the data is of another major version.
        """
        super().__init__(ground, port)
        self._password = password
        program = binaries.postgres(ground)
        self._bin = program.path.parent
        self._major = _major(program.version)
        self._data = ground.servers / f"postgres-{self._major}"
        self._refuse_other_version()

    @property
    def exists(self) -> bool:
        """Whether there is data from an earlier start."""
        return self._data.exists()

    def url(self, user: str, password: str, database: str) -> str:
        """Return the URL of a database here."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def admin_url(self) -> str:
        """The superuser's URL."""
        return self.url(ADMIN, self._password, "postgres")

    def prepare(self, lock: int) -> None:
        """Make a new cluster and move it to its place when it is whole."""
        if self.exists:
            return
        new = self.ground.servers / "new-cluster"
        shutil.rmtree(new, ignore_errors=True)
        self.ground.make_private(new)
        password = self.ground.servers / "new-password"
        password.unlink(missing_ok=True)
        try:
            password.touch(mode=0o600, exist_ok=False)
            password.write_text(self._password)
            self.ground.account.give(password)
            done = self.ground.account.run(self._initdb(new, password), lock=lock)
        finally:
            password.unlink(missing_ok=True)
        if done.returncode != 0:
            raise ServiceUnavailableError(f"initdb failed:\n{done.stdout}\n{done.stderr}")
        new.rename(self._data)

    def command(self) -> Sequence[str | Path]:
        """Return the postmaster's command line."""
        settings = SETTINGS | {"port": str(self.port)}
        if not self.ground.durable:
            settings |= FORGETFUL
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._bin / "postgres", "-D", self._data, *options]

    def answers(self) -> bool:
        """Log in as the superuser."""
        return accepts_login(self.admin_url)

    def evict(self) -> None:
        """Ask the postmaster that the data directory names to stop, if it is one."""
        stop: list[str | Path] = ["stop", "--no-wait", "--mode=fast", "-D", self._data]
        self.ground.account.run([self._bin / "pg_ctl", *stop])

    def _initdb(self, data: Path, password: Path) -> list[str | Path]:
        if self._major >= BUILTIN_LOCALE_SINCE:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            locale = ["--locale=C.UTF-8"]
        return [
            self._bin / "initdb",
            f"--pgdata={data}",
            f"--username={ADMIN}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
            *([] if self.ground.durable else ["--no-sync"]),
        ]

    def _refuse_other_version(self) -> None:
        others = {path.name for path in self.ground.servers.glob("postgres-[0-9]*")}
        if others and self._data.name not in others:
            raise ConfigurationError(
                f"{self.ground.servers} holds {', '.join(sorted(others))}, but the PostgreSQL "
                f"installed here is version {self._major}, which cannot read that. Install the "
                "version that can, or dump the data with it and restore it into a new home"
            )


def accepts_login(url: str) -> bool:
    """Tell whether PostgreSQL lets us in now."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _major(version: str) -> int:
    """Take 18 out of `postgres (PostgreSQL) 18.6`."""
    match = re.search(r"(\d+)", version)
    if match is None:
        raise ConfigurationError(f"This is no PostgreSQL version: {version}")
    return int(match[1])
