"""`vesicle migrate`: bring a database to this version, as its owner."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util.exc import CommandError
from psycopg import sql
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

import models
from models import policies
from runtime.clock import monotonic
from runtime.errors import ConfigurationError, ServiceUnavailableError
from runtime.keys import RootKey
from runtime.settings import ROLES
from runtime.stamps import ScopeStamps

__all__ = ["migrate"]

T = TypeVar("T")

#: A worker's statements are few, and each finds its rows by key, whatever the tables hold: planning
#: them anew for each batch was an eighth of what PostgreSQL does for a run. Without sequential
#: scans, a plan that was made while a table was empty is still right when it is full.
_WORKER_PLANS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}

#: How long a step waits for a lock: whoever comes later for the same table waits behind it.
LOCK_TIMEOUT = "500ms"
#: Seconds for which a step is tried, and between two tries at most.
PATIENCE, PAUSE = 30.0, 0.5

#: Months of partitions that exist ahead of time.
MONTHS_AHEAD = 2


def migrate(owner_url: str, root: RootKey, say: Callable[[str], None] = lambda _: None) -> None:
    """Create or update roles, tables, functions, policies and partitions. Safe to repeat.

    `owner_url` logs in as the role that owns the tables; it needs CREATEROLE, and nothing more.

    May run while the system is at work: each step is a transaction of its own, so that no table is
    locked for longer than its own step takes, and none waits for a lock for longer than others can
    wait behind it. A table without its policies yet is granted to nobody.

    Raises ServiceUnavailableError if somebody holds a lock for half a minute.
    """
    engine = create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
    functions = (Path(models.__file__).parent / "database.sql").read_text().replace("%", "%%")
    try:
        with engine.connect() as connection:
            # One migration at a time; another's may take long.
            connection.exec_driver_sql("SELECT pg_advisory_lock(8600)")
            connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            connection.commit()
            _step(connection, lambda: _create_roles(connection, root))
            _step(connection, lambda: _upgrade_tables(connection))
            _step(connection, lambda: connection.exec_driver_sql(functions))
            _step(connection, lambda: _store_scope_key(connection, root))
            changed = _step(connection, lambda: policies.sync(connection))
            say(f"policies changed: {changed}")
            made = _step(connection, lambda: _make_partitions(connection))
            say(f"partitions made: {made}")
    finally:
        engine.dispose()


def _step(connection: Connection, change: Callable[[], T]) -> T:
    """Do and commit one change; again, if a lock was not to be had in time or others came first."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            result = change()
            connection.commit()
        except DBAPIError as error:
            connection.rollback()
            if not _is_in_the_way(error):
                raise
            if monotonic() > deadline:
                raise ServiceUnavailableError(
                    f"A table that has to change was in use for {PATIENCE:g} s without a break."
                    " What is done is done; run `vesicle migrate` again when less is going on."
                ) from error
            time.sleep(PAUSE * random.uniform(0.5, 1))  # noqa: S311 - spreads load only
        else:
            return result


def _is_in_the_way(error: DBAPIError) -> bool:
    """Return whether others hold or change the same things: a lock, a deadlock, a grant."""
    state = getattr(error.orig, "sqlstate", None)
    return state in ("55P03", "40P01") or "tuple concurrently updated" in str(error.orig)


def _make_partitions(connection: Connection) -> int:
    made: int = connection.execute(
        text("select vesicle.ensure_partitions(:ahead)"), {"ahead": MONTHS_AHEAD}
    ).scalar_one()
    return made


def _create_roles(connection: Connection, root: RootKey) -> None:
    database = connection.execute(text("select current_database()")).scalar_one()
    connection.exec_driver_sql(f'REVOKE CONNECT, TEMPORARY ON DATABASE "{database}" FROM PUBLIC')
    for role in ROLES:
        name = f"vesicle_{role}"
        exists = connection.execute(
            text("select true from pg_roles where rolname = :name"), {"name": name}
        ).scalar()
        verb = "ALTER" if exists else "CREATE"
        statement = sql.SQL("{} ROLE {} LOGIN NOINHERIT PASSWORD {}").format(
            sql.SQL(verb), sql.Identifier(name), sql.Literal(root.role_password(role))
        )
        connection.exec_driver_sql(statement.as_string().replace("%", "%%"))
        connection.exec_driver_sql(f'GRANT CONNECT ON DATABASE "{database}" TO {name}')
    for setting, value in _WORKER_PLANS.items():
        connection.exec_driver_sql(f"ALTER ROLE vesicle_worker SET {setting} = {value}")


def _upgrade_tables(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(models.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise ConfigurationError(
                "This database was migrated by a later release than this one, which does not know"
                " what that did and leaves it alone. Migrate with the later release."
            ) from error
        raise


def _store_scope_key(connection: Connection, root: RootKey) -> None:
    inner, outer = ScopeStamps(root).pads()
    connection.execute(
        text(
            "insert into vesicle.scope_keys (id, inner_pad, outer_pad) values (1, :inner, :outer)"
            " on conflict (id) do update set inner_pad = :inner, outer_pad = :outer"
            " where scope_keys.inner_pad <> :inner"
        ),
        {"inner": inner, "outer": outer},
    )
    for role in ROLES:
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA vesicle TO vesicle_{role}")
    connection.exec_driver_sql(
        "GRANT EXECUTE ON FUNCTION vesicle.ensure_partitions(integer) TO vesicle_scheduler"
    )
