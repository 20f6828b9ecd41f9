"""Schedules for those who own or manage them: find, list, change, pause, resume, delete, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Json, Jsonb

from runtime.errors import NotFoundError
from runtime.pages import page
from runtime.schedules.store import Standing, as_utc
from runtime.tenancy import Scope

__all__ = [
    "ScheduleFilter",
    "change_schedule",
    "delete_schedule",
    "find_schedule",
    "list_schedules",
    "pause_schedule",
    "public_schedule",
    "state_of",
]

_MOMENTS = ("created_at", "nominal_at", "next_at")


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules a list shows, by id, those after `after`."""

    tenant_id: UUID | None = None
    connection_id: UUID | None = None
    flow_key: str | None = None
    action_key: str | None = None
    is_of_trigger: bool | None = None
    after: UUID | None = None
    limit: int = 100


async def find_schedule(
    connection: AsyncConnection[DictRow], scope: Scope, schedule_id: UUID, *, lock: bool = False
) -> DictRow:
    """Return a schedule; NotFoundError for one that this scope does not see."""
    cursor = await connection.execute(
        "SELECT *, timing::text AS timing_text FROM schedules"  # noqa: S608 - ours
        " WHERE workspace_id = %(workspace)s AND id = %(id)s"
        " AND (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s)"
        f"{' FOR UPDATE' if lock else ''}",
        {"workspace": scope.workspace_id, "tenant": scope.tenant_id, "id": schedule_id},
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no schedule {schedule_id}.")
    for name in _MOMENTS:
        if row[name] is not None:
            row[name] = as_utc(row[name])
    return row


async def list_schedules(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: ScheduleFilter
) -> Sequence[DictRow]:
    """Return schedules by id, one more than the limit if there are more."""
    tests = {
        "tenant_id": "tenant_id = %(tenant_id)s",
        "connection_id": "connection_id = %(connection_id)s",
        "flow_key": "(kind = 'flow' AND element_key = %(flow_key)s)",
        "action_key": "(kind = 'action' AND element_key = %(action_key)s)",
        "is_of_trigger": "is_of_trigger = %(is_of_trigger)s",
        "after": "id > %(after)s",
        "workspace": "workspace_id = %(workspace)s",
    }
    values = {**asdict(wanted), "workspace": scope.workspace_id}
    select = "SELECT * FROM schedules"
    return await page(connection, select, tests, values, by="id", limit=wanted.limit)


async def change_schedule(
    connection: AsyncConnection[DictRow],
    schedule_id: UUID,
    changes: Mapping[str, Any],
    standing: Standing | None,
) -> None:
    """Set a schedule's name, timing, input or pause; with a standing, also where it stands."""
    columns = dict(changes)
    if "timing" in columns:
        columns["timing"] = Json(columns["timing"])
    if columns.get("input") is not None:
        columns["input"] = Jsonb(columns["input"])
    if standing is not None:
        columns |= {**asdict(standing), "is_held": False}
    settings = "".join(f"{name} = %({name})s, " for name in columns)
    await connection.execute(
        f"UPDATE schedules SET {settings} revision = revision + 1, updated_at = now()"  # noqa: S608 - ours
        " WHERE id = %(id)s",
        {**columns, "id": schedule_id},
    )


async def pause_schedule(connection: AsyncConnection[DictRow], schedule_id: UUID) -> None:
    """Stop a schedule's ticks until it is resumed."""
    await change_schedule(connection, schedule_id, {"is_paused": True}, Standing(None, None))


async def delete_schedule(connection: AsyncConnection[DictRow], schedule_id: UUID) -> None:
    """Forget a schedule; the runs that came of it stay."""
    await connection.execute("DELETE FROM schedules WHERE id = %s", (schedule_id,))


def state_of(row: DictRow) -> str:
    """Return what a schedule does at the moment, in a word."""
    if row["is_paused"]:
        return "paused"
    if row["obstacle"] is not None:
        return "inactive"
    if row["nominal_at"] is None:
        return "ended"
    return "held" if row["is_held"] else "active"


def public_schedule(row: DictRow) -> dict[str, Any]:
    """Return a schedule as the API shows it."""
    kind = row["kind"]
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "tenantId": str(row["tenant_id"]),
        "source": "flow-trigger" if row["is_of_trigger"] else "api",
        f"{kind}Id": str(row["element_id"]),
        f"{kind}Key": row["element_key"],
        "state": state_of(row),
        **row["timing"],
        "nextAt": row["next_at"],
        "nextScheduledAt": row["nominal_at"],
        "lastScheduledAt": row["last_scheduled_at"],
        "lastRunId": str(row["last_run_id"]) if row["last_run_id"] else None,
        "runCount": row["runs"],
        "lastSkippedAt": row["last_skipped_at"],
        "lastSkippedReason": row["last_skipped_reason"],
        "skippedCount": row["skips"],
        "revision": row["revision"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
    optional = {
        "name": row["name"],
        "nodeKey": row["node_key"],
        "integrationId": row["integration_id"],
        "connectionId": row["connection_id"],
        "instanceKey": row["instance_key"],
        "input": row["input"],
        "reason": row["obstacle"],
    }
    for name, value in optional.items():
        if value is not None:
            shown[name] = str(value) if isinstance(value, UUID) else value
    return shown
