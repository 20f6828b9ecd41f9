"""What the benchmark runs for whom: a workspace with tenants, and actions that do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from bench.platform import Platform
from runtime.actions.target import Selection
from runtime.backlog import Backlogs
from runtime.changes import Changes
from runtime.credentials.vault import load_vault
from runtime.db import Database, role_url
from runtime.dispatch import Dispatch
from runtime.errors import VesicleError
from runtime.lanes.client import connect
from runtime.settings import Settings
from runtime.stamps import MessageStamps
from runtime.submission import RunRequest, Submission
from runtime.tenancy import Owner
from runtime.tenants.tokens import new_secret
from runtime.tenants.workspaces import ensure_workspace

__all__ = [
    "Sample",
    "add_action",
    "add_element",
    "began_at",
    "make_sample",
    "open_submission",
    "owner_connection",
    "request",
    "submit_many",
]

#: Key -> specification. A function may have effects, so by default each call is noted before it
#: is made; `safeToRepeat` says that this one has none.
_ACTIONS: Mapping[str, Mapping[str, Any]] = {
    "noop": {"type": "run-python", "config": {"function": "bench.noop"}, "safeToRepeat": True},
    "noop-once": {"type": "run-python", "config": {"function": "bench.noop"}},
    "sleep": {"type": "run-python", "config": {"function": "bench.sleep"}, "safeToRepeat": True},
    "clock": {"type": "run-python", "config": {"function": "bench.clock"}, "safeToRepeat": True},
}
_TENANTS = 9


@dataclass(frozen=True)
class Sample:
    """A workspace and its tenants."""

    key: str
    secret: str = field(repr=False)
    owners: Sequence[Owner]


@asynccontextmanager
async def owner_connection(settings: Settings) -> AsyncIterator[AsyncConnection[DictRow]]:
    """Yield a connection of the tables' owner, who sees every row."""
    assert settings.database_url is not None  # noqa: S101 - the platform sets it
    async with await AsyncConnection.connect(
        settings.database_url.get_secret_value(), autocommit=True, row_factory=dict_row
    ) as connection:
        yield connection


async def make_sample(settings: Settings, key: str, *, limited: bool = False) -> Sample:
    """Make a workspace with tenants and actions; `limited`: with limits that never run out."""
    secret = new_secret()
    async with owner_connection(settings) as connection:
        workspace = await ensure_workspace(
            connection, load_vault(settings), key=key, name=key, secret=secret
        )
        owners = [Owner(workspace, uuid_utils.compat.uuid7()) for _ in range(_TENANTS)]
        for number, owner in enumerate(owners):
            await connection.execute(
                "INSERT INTO tenants (id, workspace_id, key, name) VALUES (%s, %s, %s, %s)",
                (owner.tenant_id, workspace, f"tenant-{number}", f"Tenant {number}"),
            )
        for action, spec in _ACTIONS.items():
            await _add_element(connection, workspace, "action", action, spec)
        if limited:
            await _limit(connection, workspace)
    return Sample(key, secret, owners)


async def _limit(connection: psycopg.AsyncConnection[DictRow], workspace: UUID) -> None:
    """Limit each tenant's runs, and the workspace's, far beyond what is run here."""
    for scope in ("tenant", "workspace"):
        await connection.execute(
            "INSERT INTO limits (id, workspace_id, resource, scope, window_seconds, amount)"
            " VALUES (%s, %s, 'action-runs', %s, 2592000, 1000000000)",
            (uuid_utils.compat.uuid7(), workspace, scope),
        )


async def add_action(settings: Settings, sample: Sample, key: str, spec: Mapping[str, Any]) -> None:
    """Give the workspace one more action."""
    async with owner_connection(settings) as connection:
        workspace = sample.owners[0].workspace_id
        await _add_element(connection, workspace, "action", key, spec)


async def add_element(
    settings: Settings, sample: Sample, kind: str, key: str, spec: Mapping[str, Any]
) -> None:
    """Give the workspace one more element."""
    async with owner_connection(settings) as connection:
        await _add_element(connection, sample.owners[0].workspace_id, kind, key, spec)


async def _add_element(
    connection: AsyncConnection[DictRow],
    workspace: UUID,
    kind: str,
    key: str,
    spec: Mapping[str, Any],
) -> None:
    await connection.execute(
        "INSERT INTO elements (id, kind, layer, workspace_id, key, spec)"
        " VALUES (%s, %s, 'workspace', %s, %s, %s)",
        (uuid_utils.compat.uuid7(), kind, workspace, key, orjson.dumps(spec).decode()),
    )


def request(action: str, queue: str = "default", *, seconds: float = 0.0) -> RunRequest:
    """Return a request to run an action; `seconds` is how long a `sleep` takes."""
    return RunRequest(Selection(action=action), {"seconds": seconds}, queue=queue)


async def submit_many(
    submission: Submission, owner: Owner, wanted: RunRequest, count: int
) -> Sequence[UUID]:
    """Have the same thing run `count` times; return the runs' ids. Raises what refuses any."""
    ids = []
    for answer in await submission.submit_many(owner, wanted.queue, [wanted] * count):
        if isinstance(answer, VesicleError):
            raise answer
        ids.append(answer.run_id)
    return ids


async def began_at(settings: Settings, run_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return when the first line of each `clock` was reached, in nanoseconds since 1970.

    Raises RuntimeError unless every one of them has completed.
    """
    async with owner_connection(settings) as connection:
        cursor = await connection.execute(
            "SELECT id, (output->>'at')::bigint AS at FROM runs WHERE id = ANY(%s)"
            " AND status = 'completed'",
            (list(run_ids),),
        )
        began = {row["id"]: row["at"] for row in await cursor.fetchall()}
    if len(began) != len(run_ids):
        raise RuntimeError(f"Of {len(run_ids)} single runs {len(began)} completed.")
    return began


@asynccontextmanager
async def open_submission(
    platform: Platform, settings: Settings, kind: type[Dispatch] = Dispatch
) -> AsyncIterator[Submission]:
    """Yield what accepts runs, as it works in an API process."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings, platform.root, ["runtime"]))
        redis = connect(settings.required_redis_url())
        stack.push_async_callback(redis.aclose)
        changes = Changes(role_url(settings, platform.root, "runtime"))
        stack.callback(asyncio.create_task(changes.listen()).cancel)
        dispatch = kind(redis, MessageStamps(platform.root))
        backlogs = Backlogs(database, redis, cap=settings.backlog)
        yield Submission(database, dispatch, backlogs, changes)
