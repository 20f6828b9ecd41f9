"""Looks for what somebody should know of, and raises alerts: away from where runs are in a hurry.

Each look finds all causes of a type that there are. Those that are new raise an alert, and alerts
whose cause is not among them have ended.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.alerts.raising import AlertType, Cause, end_others, raise_alerts
from runtime.credits.limits import SLICES
from runtime.credits.recount import SAME_PLACE
from runtime.db import Database

__all__ = ["watch_connections", "watch_dead_letters", "watch_limits"]

#: Part of a threshold that use has to fall below before its alert ends: a rolling window that
#: hovers about it would else raise one alert after the other.
_CALM = 0.9

# Without those that a tenant's own limit stands in for. A window's total holds what has left it
# since it was last reserved in; so where it may be too much, the live slices are added up.
_LIMITS = f"""
WITH near AS (
    SELECT l.id AS limit_id, w.subject_id, l.workspace_id, coalesce(w.tenant_id, l.tenant_id)
            AS tenant_id, l.resource, l.scope, l.window_seconds, l.amount, l.alert_at,
        (SELECT coalesce(sum(b.amount), 0) FROM credit_buckets AS b
         WHERE b.limit_id = w.limit_id AND b.subject_id = w.subject_id
           AND b.slice >= floor((extract(epoch FROM now())::float8 - l.window_seconds)
             / (l.window_seconds::float8 / {SLICES}))) AS used
    FROM credit_windows AS w JOIN limits AS l ON l.id = w.limit_id
    WHERE l.archived_at IS NULL AND l.amount > 0 AND cardinality(l.alert_at) > 0
      AND w.total >= l.amount * l.alert_at[1] * {_CALM}
      AND NOT (l.tenant_id IS NULL AND w.tenant_id IS NOT NULL AND EXISTS (
        SELECT FROM limits AS o WHERE {SAME_PLACE} AND o.tenant_id = w.tenant_id))
)
SELECT near.*, part AS threshold, used >= amount * part::numeric AS is_reached
FROM near CROSS JOIN LATERAL unnest(alert_at) AS part
WHERE used >= amount * part::numeric * {_CALM}
"""  # noqa: S608 - constants of ours

_CONNECTIONS = """
SELECT id, workspace_id, tenant_id, integration_id FROM connections
WHERE state = 'CLIENT_ACTION_REQUIRED' AND archived_at IS NULL AND deactivated_by IS NULL
"""

_DEAD = """
SELECT workspace_id, count(*) AS dead FROM runs WHERE dead_reason IS NOT NULL
GROUP BY workspace_id HAVING count(*) >= %s
"""


async def watch_limits(database: Database) -> int:
    """Raise an alert for each threshold of a limit that is crossed; return how many are new."""
    async with database.unscoped("scheduler") as connection:
        if not await _is_alone(connection, "creditLimit"):
            return 0
        rows = await (await connection.execute(_LIMITS)).fetchall()
        lasting = [(row["workspace_id"], _crossing(row)) for row in rows]
        reached = [_limit_cause(row) for row in rows if row["is_reached"]]
        return await _update(connection, "creditLimit", lasting, reached)


async def watch_connections(database: Database) -> int:
    """Raise an alert for each connection that only its customer can mend."""
    async with database.unscoped("scheduler") as connection:
        if not await _is_alone(connection, "connectionClientActionRequired"):
            return 0
        rows = await (await connection.execute(_CONNECTIONS)).fetchall()
        causes = [_connection_cause(row) for row in rows]
        lasting = [(cause.workspace_id, cause.subject) for cause in causes]
        return await _update(connection, "connectionClientActionRequired", lasting, causes)


async def watch_dead_letters(database: Database, threshold: int) -> int:
    """Raise an alert for each workspace with so many dead letters; it ends at half of them."""
    async with database.unscoped("scheduler") as connection:
        if not await _is_alone(connection, "deadLettersPilingUp"):
            return 0
        cursor = await connection.execute(_DEAD, (max(1, threshold // 2),))
        rows = await cursor.fetchall()
        lasting = [(row["workspace_id"], "runs") for row in rows]
        causes = [
            Cause(
                row["workspace_id"],
                None,
                "deadLettersPilingUp",
                "runs",
                "warning",
                {"deadLetters": row["dead"], "threshold": threshold},
            )
            for row in rows
            if row["dead"] >= threshold
        ]
        return await _update(connection, "deadLettersPilingUp", lasting, causes)


async def _is_alone(connection: AsyncConnection[DictRow], kind: AlertType) -> bool:
    """Return whether no other scheduler looks for this, and keep it so until the commit.

    One that has looked before us would else end what we have just raised.
    """
    cursor = await connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtext('alerts'), hashtext(%s)) AS alone", (kind,)
    )
    row = await cursor.fetchone()
    return row is not None and bool(row["alone"])


async def _update(
    connection: AsyncConnection[DictRow],
    kind: AlertType,
    lasting: list[tuple[UUID, str]],
    causes: list[Cause],
) -> int:
    await end_others(connection, kind, lasting)
    return await raise_alerts(connection, causes)


def _crossing(row: DictRow) -> str:
    return f"{row['limit_id']}:{row['subject_id']}:{row['threshold']:g}"


def _limit_cause(row: DictRow) -> Cause:
    data: dict[str, Any] = {
        "limitId": str(row["limit_id"]),
        "resource": row["resource"],
        "scope": row["scope"],
        "windowSeconds": row["window_seconds"],
        "threshold": row["threshold"],
        "limit": float(row["amount"]),
        "used": float(row["used"]),
    }
    if row["scope"] in ("integration", "connection", "element"):
        data[f"{row['scope']}Id"] = str(row["subject_id"])
    return Cause(
        row["workspace_id"],
        row["tenant_id"] if row["scope"] != "tenant" else row["tenant_id"] or row["subject_id"],
        "creditLimit",
        _crossing(row),
        "critical" if row["threshold"] >= 1 else "warning",
        data,
    )


def _connection_cause(row: DictRow) -> Cause:
    data = {"connectionId": str(row["id"]), "integrationId": str(row["integration_id"])}
    return Cause(
        row["workspace_id"],
        row["tenant_id"],
        "connectionClientActionRequired",
        str(row["id"]),
        "warning",
        data,
    )
