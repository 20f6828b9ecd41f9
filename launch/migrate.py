"""`vesicle migrate`: bring a database to this version, as its owner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import Connection, create_engine, text

import models
from models import policies
from runtime.keys import RootKey
from runtime.settings import ROLES
from runtime.stamps import ScopeStamps

__all__ = ["migrate"]

#: A worker's statements are few, and each finds its rows by key, whatever the tables hold: planning
#: them anew for each batch was an eighth of what PostgreSQL does for a run. Without sequential
#: scans, a plan that was made while a table was empty is still right when it is full.
_WORKER_PLANS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}

#: Months of partitions that exist ahead of time.
MONTHS_AHEAD = 2


def migrate(owner_url: str, root: RootKey, say: Callable[[str], None] = lambda _: None) -> None:
    """Create or update roles, tables, functions, policies and partitions. Safe to repeat.

    `owner_url` logs in as the role that owns the tables; it needs CREATEROLE, and nothing more.
    """
    engine = create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        _create_roles(connection, root)
        _upgrade_tables(connection)
        connection.exec_driver_sql(
            (Path(models.__file__).parent / "database.sql").read_text().replace("%", "%%")
        )
        _store_scope_key(connection, root)
        say(f"policies changed: {policies.sync(connection)}")
        made = connection.execute(
            text("select vesicle.ensure_partitions(:ahead)"), {"ahead": MONTHS_AHEAD}
        ).scalar_one()
        say(f"partitions made: {made}")
    engine.dispose()


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
    command.upgrade(config, "head")


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
