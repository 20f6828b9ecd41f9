"""`vesicle up`: everything on one machine, from nothing, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import structlog
from psycopg.rows import dict_row
from pydantic import SecretStr
from rich.console import Console

from launch.embedded import Embedded
from launch.instance import Instance, workspace_secret
from launch.migrate import migrate
from launch.processes import children, crm_child
from launch.supervisor import Supervisor
from runtime.actions.validate import check_spec
from runtime.clock import monotonic
from runtime.config.universe import load_universe
from runtime.credentials.vault import Vault, load_vault
from runtime.errors import ConfigurationError, ServiceUnavailableError
from runtime.keys import RootKey, create_keys, load_root_key
from runtime.settings import Settings
from runtime.tenants.workspaces import ensure_workspace

__all__ = ["Running", "running_instance"]

log = structlog.get_logger()

#: Key and name of the workspace that a sample instance starts with.
WORKSPACE_KEY, WORKSPACE_NAME = "sample", "Sample workspace"
#: Seconds in which every process has to be ready.
_READY = 60.0
#: Seconds until a server that did not start is tried again: the first, doubled up to the second.
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 30.0

UNIVERSE = Path(__file__).parents[1] / "universe"


@dataclass
class Running:
    """An instance that is up."""

    instance: Instance
    crm_url: str
    supervisor: Supervisor
    embedded: Embedded | None
    _failures: int = 0
    _next_watch: float = 0.0

    def tend(self) -> None:
        """Take one look at everything; what died is started again."""
        if self.embedded is not None:
            self._watch(self.embedded)
        self.supervisor.tend()

    def _watch(self, embedded: Embedded) -> None:
        """Start a server again; one that cannot start now, as on a full disk, may later."""
        if monotonic() < self._next_watch:
            return
        try:
            embedded.watch()
            self._failures = 0
        except ServiceUnavailableError as error:
            delay = min(_FIRST_DELAY * 2**self._failures, _LONGEST_DELAY)
            self._failures += 1
            self._next_watch = monotonic() + delay
            log.warning("a server does not start", why=error.message, again_in=delay)


@contextmanager
def running_instance(
    settings: Settings, environment: Mapping[str, str], console: Console
) -> Iterator[Running]:
    """Start servers and processes, and stop at the end what was started. Main thread only."""
    _require_free_port(settings)
    with contextlib.ExitStack() as stack:
        for path in create_keys(settings.home):
            console.print(f"  made [bold]{path}[/bold], keep it: without it nothing can be opened")
        settings, embedded = _with_servers(settings, stack, console)
        root, vault = load_root_key(settings), load_vault(settings)
        secret = workspace_secret(settings.home)
        with _step(console, "database migrated, universe loaded"):
            asyncio.run(_prepare(settings, root, vault, secret))
        supervisor = Supervisor(settings.home)
        stack.callback(supervisor.stop)
        crm_port = _free_port(settings.home / "crm.port")
        with _step(console, "API, 2 workers, scheduler and the sample app started"):
            supervisor.start(crm_child(crm_port))
            for child in children(settings, root, environment, crm_port=crm_port):
                supervisor.start(child)
            supervisor.wait_ready(_READY)
        assert settings.database_url is not None  # noqa: S101 - `_with_servers` has set it
        instance = Instance(
            f"http://127.0.0.1:{settings.port}",
            WORKSPACE_KEY,
            secret,
            settings.database_url.get_secret_value(),
            settings.required_redis_url(),
        )
        instance.announce(settings.home)
        stack.callback(Instance.withdraw, settings.home)
        yield Running(instance, f"http://127.0.0.1:{crm_port}", supervisor, embedded)


def _with_servers(
    settings: Settings, stack: contextlib.ExitStack, console: Console
) -> tuple[Settings, Embedded | None]:
    """Return settings that name servers: the operator's, or embedded ones that were started."""
    if settings.database_url is not None and settings.redis_url is not None:
        console.print("  using DATABASE_URL and REDIS_URL")
        return settings, None
    if settings.database_url is not None or settings.redis_url is not None:
        raise ConfigurationError(
            "Set both DATABASE_URL and REDIS_URL to use your own servers, or neither for the"
            " embedded ones."
        )
    embedded = Embedded(settings.home)
    with _step(console, "PostgreSQL and Valkey started"):
        servers = embedded.up()
        stack.callback(embedded.down)
    given = {
        "database_url": SecretStr(servers.owner_url),
        "redis_url": SecretStr(servers.redis_url),
    }
    return settings.model_copy(update=given), embedded


async def _prepare(settings: Settings, root: RootKey, vault: Vault, secret: str) -> None:
    assert settings.database_url is not None  # noqa: S101 - `_with_servers` has set it
    owner_url = settings.database_url.get_secret_value()
    await asyncio.to_thread(migrate, owner_url, root)
    async with await psycopg.AsyncConnection.connect(owner_url, row_factory=dict_row) as owner:
        await load_universe(owner, UNIVERSE, check=check_spec)
        await ensure_workspace(owner, vault, key=WORKSPACE_KEY, name=WORKSPACE_NAME, secret=secret)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    begun = monotonic()
    with console.status(f"{what} …"):
        yield
    console.print(f"  [green]✓[/green] {what} [dim]({monotonic() - begun:.1f} s)[/dim]")


def _require_free_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            raise ConfigurationError(
                f"Port {settings.port} is taken. Is Vesicle running already? Otherwise choose"
                " another port: VESICLE_PORT=8700 make up"
            ) from None


def _free_port(kept: Path) -> int:
    """Return a free port, the one of last time if it still is."""
    last = int(kept.read_text()) if kept.exists() else 0
    for candidate in (last, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", candidate))
            port: int = probe.getsockname()[1]
            kept.write_text(str(port))
            return port
    raise ConfigurationError("No port is free on 127.0.0.1.")
