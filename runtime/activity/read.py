"""Reads activity records, newest first: a tenant's own, or its workspace's for a manager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.moments import uuid_floor
from runtime.tenancy import Scope

__all__ = [
    "ActivityFilter",
    "find_activity",
    "fits",
    "list_activity",
    "list_since",
    "public_activity",
    "public_run_log",
]

#: Bytes of stored input and output after which a page ends early, whatever its limit: a thousand
#: records at their cap of 64 KB each would be a page of 128 MB.
LARGEST_PAGE = 8_000_000

_BRIEF = (
    "a.id, a.tenant_id, a.tag, a.run_id, a.status, a.element_id, a.element_key,"
    " a.element_revision, a.integration_id, a.connection_id, a.attempt, a.duration_ms, a.error,"
    " a.credits, a.meta, a.started_at, a.created_at"
)
_SIZE = "coalesce(pg_column_size(a.input), 0) + coalesce(pg_column_size(a.output), 0)"

_TESTS = {
    "element_id": "a.element_id = %(element_id)s",
    "element_key": "a.element_key = %(element_key)s",
    "integration_id": "a.integration_id = %(integration_id)s",
    "connection_id": "a.connection_id = %(connection_id)s",
    "run_id": "a.run_id = %(run_id)s",
    "statuses": "a.status = ANY(%(statuses)s)",
    # `action:run` finds `action:run:completed`, and `action:ru` does not.
    "tag": "starts_with(a.tag || ':', %(tag)s || ':')",
    "search": (
        "(position(lower(%(search)s) IN lower(a.element_key)) > 0"
        " OR position(lower(%(search)s) IN lower(a.error->>'message')) > 0)"
    ),
    "since": "a.id >= %(since)s",
    "until": "a.id < %(until)s",
    "before": "a.id < %(before)s",
}


@dataclass(frozen=True, slots=True)
class ActivityFilter:
    """Which records a list shows; newest first, those older than `before`."""

    tenant_id: UUID | None = None
    #: A tag, or its beginning up to a colon.
    tag: str | None = None
    statuses: Sequence[str] | None = None
    element_id: UUID | None = None
    element_key: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    run_id: UUID | None = None
    #: Text in the element's key or in the error's message.
    search: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = 100


async def list_activity(
    connection: AsyncConnection[DictRow],
    scope: Scope,
    wanted: ActivityFilter,
    *,
    with_data: bool = False,
) -> tuple[list[DictRow], bool]:
    """Return the newest records that fit, and whether there are more.

    `with_data` adds inputs and outputs; a page of large ones ends before its limit, after 8 MB.
    """
    where, values = _conditions(scope, wanted)
    columns = f"{_BRIEF}, a.input, a.output" if with_data else _BRIEF
    size = _SIZE if with_data else "0"
    cursor = await connection.execute(
        "SELECT * FROM ("  # noqa: S608 - our own columns and conditions
        f" SELECT {columns}, t.key AS tenant_key, row_number() OVER newest AS position,"
        f" coalesce(sum({size}) OVER (newest ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)"
        " AS size_before, count(*) OVER () AS found"
        f" FROM (SELECT * FROM activity_records AS a WHERE {where}"
        " ORDER BY a.id DESC LIMIT %(limit)s + 1) AS a"
        " JOIN tenants AS t ON t.id = a.tenant_id WINDOW newest AS (ORDER BY a.id DESC)"
        f") AS page WHERE position <= %(limit)s AND size_before <= {LARGEST_PAGE} ORDER BY id DESC",
        {**values, "limit": wanted.limit},
    )
    rows = await cursor.fetchall()
    return rows, bool(rows) and rows[0]["found"] > len(rows)


def _conditions(scope: Scope, wanted: ActivityFilter) -> tuple[str, dict[str, Any]]:
    # Row security would find the same rows; said here, and said alone, it leads to the right index.
    tenant_id = scope.tenant_id or wanted.tenant_id
    values: dict[str, Any] = {name: getattr(wanted, name) for name in _TESTS}
    values |= {"workspace": scope.workspace_id, "tenant": tenant_id}
    for name in ("since", "until"):
        if values[name] is not None:
            values[name] = uuid_floor(values[name])
    place = "a.workspace_id = %(workspace)s" if tenant_id is None else "a.tenant_id = %(tenant)s"
    conditions = [place]
    conditions += [test for name, test in _TESTS.items() if values[name] is not None]
    return " AND ".join(conditions), values


async def list_since(
    connection: AsyncConnection[DictRow],
    scope: Scope,
    wanted: ActivityFilter,
    after: UUID,
    limit: int,
    seen: Sequence[UUID] = (),
) -> list[DictRow]:
    """Return the oldest records after an id that fit and were not seen."""
    where, values = _conditions(scope, wanted)
    cursor = await connection.execute(
        f"SELECT {_BRIEF}, t.key AS tenant_key FROM (SELECT * FROM activity_records AS a"  # noqa: S608 - our own columns and conditions
        f" WHERE {where} AND a.id > %(after)s AND a.id <> ALL(%(seen)s::uuid[])"
        " ORDER BY a.id LIMIT %(limit)s) AS a"
        " JOIN tenants AS t ON t.id = a.tenant_id ORDER BY a.id",
        {**values, "after": after, "limit": limit, "seen": list(seen)},
    )
    return await cursor.fetchall()


def fits(row: DictRow, wanted: ActivityFilter) -> bool:
    """Return whether a record is one that a list of these would show, apart from its time."""
    same = ("tenant_id", "element_id", "element_key", "integration_id", "connection_id", "run_id")
    if any(getattr(wanted, name) not in (None, row[name]) for name in same):
        return False
    if wanted.statuses is not None and row["status"] not in wanted.statuses:
        return False
    if wanted.tag is not None and not f"{row['tag']}:".startswith(f"{wanted.tag}:"):
        return False
    if wanted.search is None:
        return True
    texts = (row["element_key"], (row["error"] or {}).get("message"))
    return any(wanted.search.lower() in str(text or "").lower() for text in texts)


async def find_activity(
    connection: AsyncConnection[DictRow], scope: Scope, record_id: UUID, *, tag: str | None = None
) -> DictRow | None:
    """Return a record by its own id or by its run's, or None where this scope sees none."""
    for column in ("id", "run_id"):
        cursor = await connection.execute(
            f"SELECT {_BRIEF}, a.input, a.output, t.key AS tenant_key"  # noqa: S608 - our own columns
            " FROM activity_records AS a JOIN tenants AS t ON t.id = a.tenant_id"
            f" WHERE a.{column} = %(id)s AND a.workspace_id = %(workspace)s"
            " AND (%(tenant)s::uuid IS NULL OR a.tenant_id = %(tenant)s)"
            " AND (%(tag)s::text IS NULL OR starts_with(a.tag || ':', %(tag)s || ':'))",
            {
                "id": record_id,
                "workspace": scope.workspace_id,
                "tenant": scope.tenant_id,
                "tag": tag,
            },
        )
        if (row := await cursor.fetchone()) is not None:
            return row
    return None


def public_activity(row: DictRow) -> dict[str, Any]:
    """Return a record as the API shows it; input and output only where they were read."""
    shown = {
        "id": str(row["id"]),
        "tag": row["tag"],
        "tenantId": str(row["tenant_id"]),
        "tenantKey": row["tenant_key"],
        "runId": _text(row["run_id"]),
        "status": row["status"],
        "elementId": _text(row["element_id"]),
        "elementKey": row["element_key"],
        "elementRevision": row["element_revision"],
        "integrationId": _text(row["integration_id"]),
        "connectionId": _text(row["connection_id"]),
        "attempt": row["attempt"],
        "duration": row["duration_ms"],
        "credits": row["credits"],
        "error": row["error"],
        "meta": row["meta"],
        "startedAt": row["started_at"],
        "createdAt": row["created_at"],
    }
    return shown | {name: row[name] for name in ("input", "output") if name in row}


def public_run_log(row: DictRow) -> dict[str, Any]:
    """Return the record of an action's run as the field's clients know it."""
    return {
        "id": str(row["id"]),
        "actionRunId": _text(row["run_id"]),
        "userId": str(row["tenant_id"]),
        "tenantId": str(row["tenant_id"]),
        "integrationId": _text(row["integration_id"]),
        "connectionId": _text(row["connection_id"]),
        "actionId": _text(row["element_id"]),
        "name": row["element_key"],
        "input": row["input"],
        "output": row["output"],
        "status": "success" if row["status"] == "completed" else "error",
        "error": row["error"],
        "createdAt": row["started_at"] or row["created_at"],
        "completedAt": row["created_at"],
        "duration": row["duration_ms"],
        "meta": row["meta"],
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None
