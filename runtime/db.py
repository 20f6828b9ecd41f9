"""The database: one pool per role, and the only place where a transaction gets its scope.

Hot paths take a psycopg connection from `transaction`, management paths an ORM session from
`session`. Both are bound to a signed scope for exactly one transaction, and both refuse to exist
without one.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import text
from sqlalchemy.exc import InternalError as EngineInternalError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as EngineTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from runtime import metrics
from runtime.clock import now
from runtime.errors import ConfigurationError, ServiceUnavailableError, UnreachableError
from runtime.keys import RootKey
from runtime.round_trip import Query, round_trip
from runtime.settings import Role, Settings
from runtime.stamps import ScopeStamps
from runtime.tenancy import Scope

__all__ = ["Database", "Query", "Row", "role_url"]

log = structlog.get_logger()

Row = dict[str, Any]

#: Seconds for which a request waits for a free connection before it is answered with 503. One that
#: waits for a batch before its own waits twice as long, and callers wait for ten seconds or more.
POOL_TIMEOUT = 5.0

#: Classes of SQLSTATE by which PostgreSQL gives up one transaction and is otherwise well: a
#: deadlock, a lock that was not had in time.
_GAVE_UP = ("40", "55")
#: SQLSTATE of a full disk, and of one that fails.
_NO_ROOM = ("53100", "58030")

_BIND = "SELECT set_config('vesicle.scope', %s, true)"
#: The same for a transaction whose commit need not be on disk when it is answered.
_BIND_HASTILY = f"{_BIND}, set_config('synchronous_commit', 'off', true)"

set_json_dumps(orjson.dumps)
set_json_loads(orjson.loads)


def role_url(settings: Settings, root: RootKey, role: Role) -> str:
    """Return the URL under which a process logs in as one of Vesicle's roles.

    A URL of the role's own wins; else DATABASE_URL is taken, with the role's name and the password
    that `vesicle migrate` gave it.
    """
    own = getattr(settings, f"database_url_{role}")
    if own is not None:
        return str(own.get_secret_value())
    if settings.database_url is None:
        raise ConfigurationError(
            "DATABASE_URL is not set. Start the embedded servers with `vesicle up`, or name a"
            " PostgreSQL database."
        )
    parts = urlsplit(settings.database_url.get_secret_value())
    login = f"vesicle_{role}:{quote(root.role_password(role), safe='')}"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}@{host}"))


class Database:
    """The pools of one process. Use it as an async context manager."""

    def __init__(
        self, settings: Settings, root: RootKey, roles: Sequence[Role], *, size: int = 8
    ) -> None:
        """Prepare pools of at most `size` connections for these roles; nothing is opened yet."""
        self._stamps = ScopeStamps(root)
        urls = {role: role_url(settings, root, role) for role in roles}
        self._pools: dict[Role, AsyncConnectionPool[AsyncConnection[DictRow]]] = {
            role: AsyncConnectionPool(
                url,
                min_size=1,
                max_size=size,
                open=False,
                timeout=POOL_TIMEOUT,
                check=_refuse_closed,
                kwargs={
                    "autocommit": True,
                    "row_factory": dict_row,
                    # Kept from the first execution on. With psycopg's 5, an idle system planned
                    # the claim anew for most runs, which takes 2 ms, and each of a worker's
                    # connections planned everything five times.
                    "prepare_threshold": 0,
                },
                name=role,
            )
            for role, url in urls.items()
        }
        self._engines: dict[Role, AsyncEngine] = {
            role: create_async_engine(
                urlunsplit(urlsplit(url)._replace(scheme="postgresql+psycopg_async")),
                pool_size=size,
                max_overflow=0,
                pool_timeout=POOL_TIMEOUT,
                pool_pre_ping=True,  # a round trip, on paths that managers take now and then
                json_serializer=lambda value: orjson.dumps(value).decode(),
            )
            for role, url in urls.items()
        }

    async def __aenter__(self) -> Self:
        """Open the pools and refuse to go on as a login that could see past row security."""
        for role, pool in self._pools.items():
            try:
                await pool.open(wait=True, timeout=30)
            except PoolTimeout:
                raise ServiceUnavailableError(
                    f"PostgreSQL cannot be reached as the role vesicle_{role}: is it up, and has"
                    " `vesicle migrate` been run with the same root key?"
                ) from None
            async with pool.connection() as connection:
                await refuse_privileged(connection)
            metrics.watch_pool(role, pool.get_stats)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every pool."""
        async with AsyncExitStack() as stack:
            for pool in self._pools.values():
                stack.push_async_callback(pool.close)
            for engine in self._engines.values():
                stack.push_async_callback(engine.dispose)

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Yield a connection inside a transaction that sees the scope's rows only."""
        async with self._connection(scope.role) as connection:
            # One round trip instead of two: BEGIN and the scope go together.
            await connection.execute(
                sql.SQL("BEGIN; SELECT set_config('vesicle.scope', {}, true)").format(
                    sql.Literal(self._sign(scope))
                ),
                prepare=False,
            )
            try:
                yield connection
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                raise
            else:
                await connection.execute("COMMIT")

    @asynccontextmanager
    async def pipelined(self, scope: Scope) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Yield the same in pipeline mode: nobody waits for a statement but who fetches its rows.

        What is not fetched travels with the next fetch, or with the COMMIT. So errors come as late
        as results do, at the latest at the end of the block, and `rowcount` is unknown until then.
        """
        async with self._connection(scope.role) as connection:
            try:
                async with _pipeline(connection):
                    await connection.execute("BEGIN")
                    await connection.execute(_BIND, (self._sign(scope),))
                    yield connection
                    await connection.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                raise

    async def ask(self, scope: Scope, *queries: Query, durable: bool = True) -> list[list[DictRow]]:
        """Return the rows of each statement; all of them are one transaction and one round trip.

        What is written by one that is not `durable` is seen by all at once, and lost if PostgreSQL
        dies before the next durable one is committed, by whomever, or half a second has passed.
        """
        bind = Query(_BIND if durable else _BIND_HASTILY, (self._sign(scope),))
        async with self._connection(scope.role) as connection:
            _, *answers = await round_trip(connection, (bind, *queries))
        return answers

    @asynccontextmanager
    async def session(self, scope: Scope) -> AsyncIterator[AsyncSession]:
        """Yield an ORM session for one transaction, committed at the end."""
        try:
            async with AsyncSession(self._engines[scope.role], expire_on_commit=False) as session:
                connection = await session.connection()
                await connection.execute(
                    text("SELECT set_config('vesicle.scope', :stamp, true)"),
                    {"stamp": self._sign(scope)},
                )
                yield session
                await session.commit()
        except EngineTimeout as error:
            raise _unreachable() from error
        except OperationalError as error:
            raise _trouble(getattr(error.orig, "sqlstate", None)) from error
        except EngineInternalError as error:
            if not _is_quota(error.orig):
                raise
            raise _full("XX000") from error

    @asynccontextmanager
    async def unscoped(self, role: Role) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Yield a transaction of a role whose policies need no scope.

        That is the authenticator, which looks up workspaces, and the scheduler, whose narrow
        column grants stand in for a scope. Any other role's policies raise here.
        """
        async with self._connection(role) as connection, connection.transaction():
            yield connection

    async def ping(self, role: Role) -> bool:
        """Return whether the database answers this role."""
        try:
            async with self._pools[role].connection(timeout=2) as connection:
                await connection.execute("SELECT 1")
        except (psycopg.Error, PoolTimeout):
            return False
        return True

    @asynccontextmanager
    async def _connection(self, role: Role) -> AsyncIterator[AsyncConnection[DictRow]]:
        try:
            async with self._pools[role].connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise _unreachable() from error
        except psycopg.errors.ReadOnlySqlTransaction as error:  # a standby, or soon to be primary
            raise _unreachable() from error
        except psycopg.errors.FeatureNotSupported as error:
            # A migration gave a table a column, and a statement that was prepared before it would
            # bring that too. New connections know nothing of old statements.
            await self._pools[role].drain()
            raise _busy() from error
        except psycopg.errors.InternalError_ as error:
            if not _is_quota(error):
                raise
            raise _full(error.sqlstate) from error
        except psycopg.OperationalError as error:
            raise _trouble(error.sqlstate) from error

    def _sign(self, scope: Scope) -> str:
        return self._stamps.sign(
            kind=scope.kind, workspaces=scope.workspaces, tenants=scope.tenants, now=now()
        )


@asynccontextmanager
async def _pipeline(connection: AsyncConnection[DictRow]) -> AsyncIterator[None]:
    """Keep a connection in pipeline mode; what follows an error is dropped without a word."""
    async with connection.pipeline() as pipeline:
        try:
            yield
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                await pipeline.sync()
            raise


async def _refuse_closed(connection: AsyncConnection[DictRow]) -> None:
    """Raise OperationalError for a pooled connection that the server has closed meanwhile.

    A server that went away has sent its last word, and an idle connection has nothing else to read:
    asking the socket takes a microsecond, and spares callers a 503 after each restart.
    """
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        await connection.close()  # else the pool takes it for sound, and hands it out again
        raise psycopg.OperationalError("The server has closed the connection.")


def _trouble(state: str | None) -> ServiceUnavailableError:
    """Say what is the matter; with a state (SQLSTATE), the server answered."""
    if state is not None and state[:2] in _GAVE_UP:
        return _busy()
    if state in _NO_ROOM:
        return _full(state)
    return _unreachable()


def _busy() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "Others were changing the same things at the same moment; try again.",
        headers={"Retry-After": "1"},
    )


def _is_quota(error: BaseException | None) -> bool:
    """Return whether a file may not grow: PostgreSQL knows ENOSPC, and no quota or limit."""
    return "could not extend file" in str(error) or "could not write" in str(error)


def _full(state: str | None) -> ServiceUnavailableError:
    log.error("database.no_room", state=state)
    return UnreachableError(
        "The database has no room to write; nothing was changed. Try again later.",
        headers={"Retry-After": "30"},
    )


def _unreachable() -> ServiceUnavailableError:
    return UnreachableError(
        "The database cannot be reached; try again shortly.", headers={"Retry-After": "5"}
    )


async def refuse_privileged(connection: AsyncConnection[DictRow]) -> None:
    """Raise ConfigurationError if this login could see past row security."""
    cursor = await connection.execute(
        "SELECT current_user AS name, rolsuper OR rolbypassrls AS bypasses,"
        " rolcreaterole AS grants, EXISTS (SELECT FROM pg_class WHERE relowner = r.oid"
        " AND relkind IN ('r', 'p')) AS owns"
        " FROM pg_roles r WHERE rolname = current_user"
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - every session has a current user
    for flag, why in (
        ("bypasses", "is a superuser or has BYPASSRLS"),
        ("grants", "may create roles"),
        ("owns", "owns tables"),
    ):
        if row[flag]:
            raise ConfigurationError(
                f"Refusing to start: the database login {row['name']} {why}, so row security would"
                " not bind it. Use the roles that `vesicle migrate` makes."
            )
