"""Reads runs for those who asked for them, and stops them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.db import Query
from runtime.pages import newest_tests, newest_values, page, tests_of
from runtime.runs.partitions import among
from runtime.tenancy import Scope

__all__ = ["COLUMNS", "RunFilter", "find_run", "list_runs", "public_run", "run_query"]

#: What the API shows of a run.
COLUMNS = (
    "id, tenant_id, kind, status, queue, input, output, error, meta, element_id, element_key,"
    " element_revision, integration_id, connection_id, priority, attempt, parks, due_at,"
    " waiting, dead_reason, redriven_as, redrive_of, stop_requested, created_at, started_at,"
    " finished_at"
)


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


def run_query(run_id: UUID) -> Query:
    """Return what finds a run, if the scope may see it."""
    # By `id = …` alone it would be planned anew each time, which takes longer than to find it.
    return Query(
        f"SELECT {COLUMNS}, logs FROM runs WHERE id = ANY(%(ids)s::uuid[])"  # noqa: S608 - our own column list
        " AND id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid",
        among([run_id]),
    )


async def find_run(connection: AsyncConnection[DictRow], run_id: UUID) -> DictRow | None:
    """Return a run that this scope may see."""
    return await (await connection.execute(*run_query(run_id))).fetchone()


async def list_runs(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: RunFilter
) -> list[DictRow]:
    """Return the newest runs that fit, one more than the limit if there are more."""
    columns = {
        "tenant_id": scope.tenant_id or wanted.tenant_id,
        "status": wanted.status,
        "kind": wanted.kind,
        "element_id": wanted.element_id,
        "connection_id": wanted.connection_id,
    }
    tests = {**tests_of(columns, "r"), **newest_tests("r")}
    values = {**columns, **newest_values(scope.workspace_id, wanted.before)}
    select = f"SELECT {COLUMNS} FROM runs AS r"  # noqa: S608 - column names are ours
    return await page(connection, select, tests, values, by="r.id DESC", limit=wanted.limit)


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
        "priority": row["priority"],
        "attempt": row["attempt"],
        "parks": row["parks"],
        "dueAt": row["due_at"],
        "waiting": row["waiting"],
        "deadReason": row["dead_reason"],
        "redrivenAs": _text(row["redriven_as"]),
        "redriveOf": _text(row["redrive_of"]),
        "stopRequested": row["stop_requested"],
        "createdAt": row["created_at"],
        "startedAt": row["started_at"],
        "finishedAt": row["finished_at"],
        # a run that is read by itself; a list of a thousand would be too long with them
        **({"logs": row["logs"] or []} if "logs" in row else {}),
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None
