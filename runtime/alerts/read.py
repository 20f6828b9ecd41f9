"""Reads alerts: a tenant's own, or its workspace's for a manager; and has them resolved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import NotFoundError
from runtime.pages import page
from runtime.tenancy import Scope

__all__ = ["AlertFilter", "find_alert", "list_alerts", "public_alert", "resolve_alert"]


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts a list shows; newest first, those older than `before`."""

    tenant_id: UUID | None = None
    type: str | None = None
    severity: str | None = None
    status: str | None = None
    before: UUID | None = None
    limit: int = 100


async def list_alerts(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: AlertFilter
) -> list[DictRow]:
    """Return alerts, one more than the limit if there are more."""
    tests = {
        "tenant_id": "tenant_id = %(tenant_id)s",
        "type": "type = %(type)s",
        "severity": "severity = %(severity)s",
        "status": "status = %(status)s",
        "before": "id < %(before)s",
        "workspace": "workspace_id = %(workspace)s",
    }
    tenant = scope.tenant_id or wanted.tenant_id
    values = {**asdict(wanted), "tenant_id": tenant, "workspace": scope.workspace_id}
    select = "SELECT * FROM alerts"
    return await page(connection, select, tests, values, by="id DESC", limit=wanted.limit)


async def find_alert(connection: AsyncConnection[DictRow], scope: Scope, alert_id: UUID) -> DictRow:
    """Return an alert; NotFoundError for one that this scope does not see."""
    cursor = await connection.execute(
        "SELECT * FROM alerts WHERE workspace_id = %(workspace)s AND id = %(id)s"
        " AND (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s)",
        {"workspace": scope.workspace_id, "tenant": scope.tenant_id, "id": alert_id},
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no alert {alert_id}.")
    return row


async def resolve_alert(connection: AsyncConnection[DictRow], alert_id: UUID) -> bool:
    """Note that somebody has seen to it; return whether it was ongoing.

    While its cause lasts, it is not raised anew. Needs the manager's scope.
    """
    cursor = await connection.execute(
        "UPDATE alerts SET status = 'resolved', resolved_at = now()"
        " WHERE id = %s AND status = 'ongoing'",
        (alert_id,),
    )
    return bool(cursor.rowcount)


def public_alert(row: DictRow) -> dict[str, Any]:
    """Return an alert as the API shows it."""
    return {
        "id": str(row["id"]),
        "type": row["type"],
        "severity": row["severity"],
        "status": row["status"],
        "tenantId": str(row["tenant_id"]) if row["tenant_id"] else None,
        "data": row["data"],
        "createdAt": row["created_at"],
        "resolvedAt": row["resolved_at"],
        "isCauseGone": row["ended_at"] is not None,
    }
