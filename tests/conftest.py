"""The whole system for tests: real PostgreSQL and Valkey, the API, and a worker in this process.

One database serves the session; each test that wants one gets a workspace of its own in it, so
tests do not see each other for the same reason that customers do not.

VESICLE_REDIS_SERVER names another server to run all of it on, such as a redis-server of 7.2.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import structlog
import uvicorn
from psycopg.rows import dict_row
from pydantic import SecretStr

from launch.embedded import Embedded
from launch.migrate import migrate
from runtime import logs
from runtime.api.app import create_app
from runtime.api.serving import Server
from runtime.credentials.vault import Vault, load_vault
from runtime.functions.registry import Functions
from runtime.keys import RootKey, load_root_key
from runtime.settings import Settings
from runtime.tenants.tokens import mint
from runtime.tenants.workspaces import ensure_workspace
from tests.functions import FUNCTIONS
from tests.redis_login import confined
from workers.boot import assemble
from workers.consumer import LoopConsumer

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Platform:
    """The servers of the test session, migrated, and the keys to them."""

    settings: Settings
    admin_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    #: The administrator's; what is tested has the URL of the settings, with less rights.
    redis_url: str = field(repr=False)
    root: RootKey
    vault: Vault

    @contextlib.asynccontextmanager
    async def owner(self):
        """Yield a connection as the owner of the tables, who sees everything."""
        async with await psycopg.AsyncConnection.connect(
            self.owner_url, autocommit=True, row_factory=dict_row
        ) as connection:
            yield connection

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return what a query of the owner finds."""
        async with self.owner() as connection:
            return await (await connection.execute(query, values)).fetchall()


def _key(seed: int) -> str:
    return base64.b64encode(bytes((seed * 37 + i * 11) % 256 for i in range(32))).decode()


@pytest.fixture(scope="session")
def platform():
    """Real servers on free ports, for this session only."""
    above = Path(tempfile.mkdtemp(prefix="vesicle-tests-"))
    above.chmod(0o755)
    embedded = Embedded(above / "home", durable=False)
    try:
        servers = embedded.up()
        settings = Settings(
            home=above / "home",
            database_url=SecretStr(servers.owner_url),
            redis_url=SecretStr(confined(servers.redis_url)),
            root_key=SecretStr(_key(1)),
            master_keys=SecretStr(f"test:{_key(2)}"),
            lease=2.0,
            egress_allow="127.0.0.0/8",
            egress_http=True,
            log_level="ERROR",
            webhook_calls=0,  # those who test deliveries make them
        )
        logs.configure(settings)
        # Tests that look at log lines change the configuration of loggers in use.
        structlog.configure(cache_logger_on_first_use=False)
        root = load_root_key(settings)
        migrate(servers.owner_url, root)
        yield Platform(
            settings,
            servers.admin_url,
            servers.owner_url,
            servers.redis_url,
            root,
            load_vault(settings),
        )
    finally:
        embedded.down()
        shutil.rmtree(above, ignore_errors=True)


@pytest.fixture(scope="session")
async def app(platform):
    """The API, started, in this process."""
    app = create_app(platform.settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def api_url(app):
    """The address of the API over real HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task
    listener.close()


class Client(httpx2.AsyncClient):
    """A caller of the API with one token."""

    def __init__(self, app: Any, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        super().__init__(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://api.test",
            headers=headers,
            timeout=60,
        )


@dataclass
class TestWorkspace:
    """A workspace of one test, and callers in it."""

    __test__ = False

    id: uuid.UUID
    key: str
    secret: str = field(repr=False)
    app: Any
    stack: contextlib.AsyncExitStack

    async def caller(self, **claims: Any) -> Client:
        """Return a client whose token has these claims."""
        token = mint(self.key, self.secret, **claims)
        return await self.stack.enter_async_context(Client(self.app, token))

    async def tenant(self, key: str = "acme", name: str | None = None) -> Client:
        """Return a client of a tenant, which its first request makes."""
        return await self.caller(tenant_key=key, name=name or key.capitalize())

    async def manager(self) -> Client:
        """Return a client that manages the workspace."""
        return await self.caller(admin=True)


@pytest.fixture
async def make_workspace(platform, app):
    """Makes workspaces."""
    async with contextlib.AsyncExitStack() as stack:

        async def make() -> TestWorkspace:
            key, secret = f"w-{uuid.uuid4().hex[:12]}", base64.b64encode(uuid.uuid4().bytes * 4)
            async with platform.owner() as connection:
                workspace_id = await ensure_workspace(
                    connection, platform.vault, key=key, name=key, secret=secret.decode()
                )
            return TestWorkspace(workspace_id, key, secret.decode(), app, stack)

        yield make


@pytest.fixture
async def workspace(make_workspace):
    """A fresh workspace."""
    return await make_workspace()


@pytest.fixture
async def acme(workspace):
    """A client of the tenant acme."""
    return await workspace.tenant("acme", "Acme Corp")


@pytest.fixture
async def globex(workspace):
    """A client of the tenant globex, acme's neighbour in the same workspace."""
    return await workspace.tenant("globex", "Globex")


@pytest.fixture
async def manager(workspace):
    """A client that manages the workspace of acme and globex."""
    return await workspace.manager()


@pytest.fixture(scope="session")
async def worker(platform, app):
    """A worker on this process's loop, with the functions of `tests/functions.py`."""
    broker, process = assemble(platform.settings)
    process.functions = Functions(FUNCTIONS, threads=4)
    consumer = LoopConsumer(broker, broker.loop_queues, slots=64, grace=5)
    async with process.open(lambda: consumer.ready, consumer.workload):
        task = asyncio.create_task(consumer.run())
        yield process
        consumer.stop()
        await task
    broker.close()


@pytest.fixture(scope="session")
def crm():
    """The sample app, started as its users start it; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.crm", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        yield line.rsplit(maxsplit=1)[-1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
async def anonymous(app):
    """A client without a token."""
    async with Client(app, None) as client:
        yield client
