"""Reads runs for those who asked for them, and stops them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.tenancy import Scope

__all__ = ["RunFilter", "find_run", "list_runs", "public_run", "stop_run"]

_COLUMNS = (
    "id, tenant_id, kind, status, queue, input, output, error, meta, element_id, element_key,"
    " element_revision, integration_id, connection_id, attempt, stop_requested, created_at,"
    " started_at, finished_at"
)

#: A run that never started ends here, with its one terminal record.
_STOP_QUEUED = """
WITH stopped AS (
    UPDATE runs SET status = 'stopped', stop_requested = true, finished_at = now(),
        error = %(error)s::jsonb
    WHERE id = %(id)s AND status = 'queued'
    RETURNING id, workspace_id, tenant_id, kind, element_id, element_key, element_revision,
        integration_id, connection_id, attempt, meta, error
)
INSERT INTO activity_records (id, workspace_id, tenant_id, tag, run_id, status, element_id,
    element_key, element_revision, integration_id, connection_id, attempt, error, meta)
SELECT %(activity)s, workspace_id, tenant_id,
    CASE kind WHEN 'action' THEN 'action:run' WHEN 'connection-test' THEN 'connection:test'
        ELSE 'connection:refresh' END || ':stopped',
    id, 'stopped', element_id, element_key, element_revision, integration_id, connection_id,
    attempt, error, meta
FROM stopped
"""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a list shows; newest first, those older than `before`."""

    status: str | None = None
    kind: str | None = None
    tenant_id: UUID | None = None
    element_id: UUID | None = None
    connection_id: UUID | None = None
    before: UUID | None = None
    limit: int = 50


async def find_run(connection: AsyncConnection[DictRow], run_id: UUID) -> DictRow | None:
    """Return a run that this scope may see."""
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = %s", (run_id,))  # noqa: S608 - our own column list
    return await cursor.fetchone()


async def list_runs(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: RunFilter
) -> list[DictRow]:
    """Return the newest runs that fit, one more than the limit if there are more."""
    conditions, values = ["workspace_id = %(workspace)s"], {"workspace": scope.workspace_id}
    named: dict[str, Any] = {
        "tenant_id": scope.tenant_id or wanted.tenant_id,
        "status": wanted.status,
        "kind": wanted.kind,
        "element_id": wanted.element_id,
        "connection_id": wanted.connection_id,
    }
    for column, value in named.items():
        if value is not None:
            conditions.append(f"{column} = %({column})s")
            values[column] = value
    if wanted.before is not None:
        conditions.append("id < %(before)s")
        values["before"] = wanted.before
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM runs WHERE {' AND '.join(conditions)}"  # noqa: S608 - column names are ours
        " ORDER BY id DESC LIMIT %(limit)s",
        {**values, "limit": wanted.limit + 1},
    )
    return await cursor.fetchall()


async def stop_run(
    connection: AsyncConnection[DictRow], run_id: UUID, error: str
) -> Literal["unknown", "ended", "stopped", "stopping"]:
    """Stop a run: at once if it is queued, else by asking the worker that holds it.

    `error` is the JSON that goes on record for a run that never started.
    """
    cursor = await connection.execute(
        _STOP_QUEUED,
        {"id": run_id, "error": error, "activity": uuid_utils.compat.uuid7()},
    )
    if cursor.rowcount:
        return "stopped"
    cursor = await connection.execute(
        "UPDATE runs SET stop_requested = true WHERE id = %s AND status = 'running'", (run_id,)
    )
    if cursor.rowcount:
        return "stopping"
    return "ended" if await find_run(connection, run_id) else "unknown"


def public_run(row: DictRow) -> dict[str, Any]:
    """Return a run as the API shows it."""
    return {
        "id": str(row["id"]),
        "kind": row["kind"],
        "status": row["status"],
        "queue": row["queue"],
        "tenantId": str(row["tenant_id"]),
        "actionId": _text(row["element_id"]),
        "actionKey": row["element_key"],
        "elementRevision": row["element_revision"],
        "integrationId": _text(row["integration_id"]),
        "connectionId": _text(row["connection_id"]),
        "input": row["input"],
        "output": row["output"],
        "error": row["error"],
        "meta": row["meta"],
        "attempt": row["attempt"],
        "stopRequested": row["stop_requested"],
        "createdAt": row["created_at"],
        "startedAt": row["started_at"],
        "finishedAt": row["finished_at"],
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None
