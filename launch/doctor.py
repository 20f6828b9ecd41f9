"""`vesicle doctor`: looks at everything that an instance stands on, and says what is wrong."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from rich.console import Console
from sqlalchemy import Connection, create_engine, text
from sqlmodel import SQLModel

from launch.instance import Instance
from models import policies  # the package registers every table
from runtime.clock import now
from runtime.credentials.vault import load_vault
from runtime.db import refuse_privileged, role_url
from runtime.errors import ConfigurationError, VesicleError
from runtime.keys import RootKey, load_root_key
from runtime.lanes.client import TROUBLE, connect
from runtime.redis_check import (
    EVICTING,
    FORBIDDEN,
    eviction_policy,
    forbidden,
    keeps_all,
    server_version,
)
from runtime.settings import ROLES, Settings

__all__ = ["examine"]

_OLDEST_POSTGRES = 15

#: Seconds by which clocks may differ. Ids and stamps are made by one clock and read by another.
_CLOCK_LEEWAY = 5.0
#: Connections that one API process, one worker process and one scheduler open at most: a pool and
#: an engine for each of their logins, of 8 connections each, or of 4 in the scheduler.
_NEEDED = {"API": 48, "worker": 16, "scheduler": 16}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fault` says what to do about it, None that it is well.

    A `hint` is worth knowing and makes nothing wrong.
    """

    what: str
    fault: str | None = None
    hint: str | None = None


async def examine(settings: Settings, console: Console) -> bool:
    """Print every finding; return whether all is well."""
    well = True
    async for finding in _findings(_of_instance(settings)):
        if finding.fault is not None:
            well = False
            console.print(f"  [red]✗[/red] {finding.what}: {finding.fault}")
        elif finding.hint is not None:
            console.print(f"  [yellow]![/yellow] {finding.what}: {finding.hint}")
        else:
            console.print(f"  [green]✓[/green] {finding.what}")
    console.print("[green]All is well.[/green]" if well else "[red]Something is wrong.[/red]")
    return well


def _of_instance(settings: Settings) -> Settings:
    """Return the settings with the servers of the instance that runs here, if none are named."""
    if settings.database_url is not None and settings.redis_url is not None:
        return settings
    instance = Instance.running(settings.home)
    given = {
        "database_url": SecretStr(instance.database_url),
        "redis_url": SecretStr(instance.redis_url),
    }
    return settings.model_copy(update=given)


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    root: RootKey | None = None
    try:
        root = load_root_key(settings)
        yield Finding("root key")
    except VesicleError as error:
        yield Finding("root key", error.message)
    try:
        vault = load_vault(settings)
        owner = uuid.uuid4()
        key = vault.new_data_key(owner)
        sealed = vault.seal(
            key, owner, workspace=owner, subject=owner, field="doctor", plaintext=b"well"
        )
        vault.open(key, owner, workspace=owner, subject=owner, field="doctor", sealed=sealed)
        yield Finding("master key seals and opens")
    except VesicleError as error:
        yield Finding("master key", error.message)
    if root is not None:
        for role in ROLES:
            yield await _role(role_url(settings, root, role), role)
    for finding in _database(settings):
        yield finding
    async for finding in _broker(settings):
        yield finding


async def _role(url: str, role: str) -> Finding:
    what = f"database login vesicle_{role}"
    try:
        async with await psycopg.AsyncConnection.connect(
            url, row_factory=dict_row, connect_timeout=5
        ) as connection:
            await refuse_privileged(connection)
    except ConfigurationError as error:
        return Finding(what, error.message)
    except psycopg.OperationalError:
        return Finding(what, "cannot log in; run `vesicle migrate` with this root key")
    return Finding(what)


def _database(settings: Settings) -> list[Finding]:
    """Look at the tables as their owner, and change nothing."""
    assert settings.database_url is not None  # noqa: S101 - `_of_instance` has seen to it
    url = settings.database_url.get_secret_value()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        with engine.connect() as connection:
            version = connection.execute(text("show server_version_num")).scalar_one()
            major = int(version) // 10_000
            found = [
                Finding(
                    f"PostgreSQL {major}",
                    None if major >= _OLDEST_POSTGRES else f"at least {_OLDEST_POSTGRES} is needed",
                )
            ]
            changes = policies.sync(connection)
            connection.rollback()
            found.append(
                Finding(
                    f"row security and policies on {len(SQLModel.metadata.tables)} tables",
                    f"{changes} differ; run `vesicle migrate`" if changes else None,
                )
            )
            ahead = connection.execute(
                text(
                    "select to_regclass('runs_' || to_char(now() + interval '1 month', 'YYYY_MM'))"
                )
            ).scalar_one()
            missing = None if ahead else "missing for next month; is the scheduler running?"
            found.append(Finding("partitions", missing))
            return [*found, _head_room(connection), _database_clock(connection)]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return [Finding("database tables", f"{type(error).__name__}; run `vesicle migrate`")]
    finally:
        engine.dispose()


def _head_room(connection: Connection) -> Finding:
    """Compare what PostgreSQL lets in with what one process of each kind may open."""
    most, kept = connection.execute(
        text(
            "SELECT current_setting('max_connections')::int,"
            " current_setting('superuser_reserved_connections')::int"
            " + coalesce(current_setting('reserved_connections', true), '0')::int"
        )
    ).one()
    needed = sum(_NEEDED.values())
    each = ", ".join(f"{number} for a {name}" for name, number in _NEEDED.items())
    hint = (
        f"under load one process of each kind opens up to {needed} ({each}); raise max_connections"
    )
    return Finding(
        f"PostgreSQL lets {most - kept} connections in",
        hint=None if most - kept >= needed else hint,
    )


def _database_clock(connection: Connection) -> Finding:
    asked = now()
    told = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return _clock("PostgreSQL", asked, told, now())


async def _broker_clock(redis: Redis) -> Finding:
    asked = now()
    seconds, micros = await redis.time()
    told = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)
    return _clock("the broker", asked, told, now())


def _clock(whose: str, asked: datetime, told: datetime, heard: datetime) -> Finding:
    """Compare a clock with ours; the answer may be from any moment between the two."""
    ahead = max(0.0, (told - heard).total_seconds(), (asked - told).total_seconds())
    hint = (
        f"differs from this machine's by {ahead:.0f} s; synchronise both (NTP): stamps and tokens"
        " are refused, and run ids out of order, when clocks disagree"
    )
    return Finding(f"clock of {whose}", hint=hint if ahead > _CLOCK_LEEWAY else None)


async def _broker(settings: Settings) -> AsyncIterator[Finding]:
    url = settings.required_redis_url()
    redis = connect(url)
    try:
        yield Finding(*await server_version(redis))
        missing = await forbidden(redis)
        yield Finding(
            "broker login", f"may not {', '.join(missing)}: {FORBIDDEN}" if missing else None
        )
        policy = await eviction_policy(redis)
        yield Finding(
            f"maxmemory-policy {policy or 'unknown'}", None if keeps_all(policy) else EVICTING
        )
        yield await _persistence(redis)
        yield await _broker_clock(redis)
        yield await _broker_guard(url)
    except NoPermissionError:
        return  # it was said what is not allowed; the rest cannot be known
    except TROUBLE as error:
        yield Finding("broker", f"cannot be reached ({type(error).__name__}); check REDIS_URL")
    finally:
        await redis.aclose()


async def _broker_guard(url: str) -> Finding:
    """Knock without a login: what CONFIG says of one password tells nothing about users."""
    parts = urlsplit(url)
    async with connect(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()) as stranger:
        try:
            await stranger.ping()
        except (AuthenticationError, NoPermissionError):
            return Finding("broker password")
    return Finding("broker password", "none is set: set requirepass")


async def _persistence(redis: Redis) -> Finding:
    """Say what a restart of the broker costs; it loses no run either way."""
    # INFO is allowed where CONFIG is not.
    enabled = cast("dict[str, object]", await redis.info("persistence")).get("aof_enabled")
    appendonly = {0: "no", 1: "yes"}.get(cast("int", enabled), "unknown")
    hint = (
        "no run is lost when the broker restarts, but each waits until the scheduler has sent it"
        " again, and tenants' shares begin anew; set `appendonly yes`"
    )
    return Finding(f"appendonly {appendonly}", hint=hint if appendonly == "no" else None)
