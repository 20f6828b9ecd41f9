"""How much was used, and how much of each limit is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credits.limits import SLICES
from runtime.credits.manage import shown_window
from runtime.credits.recount import SAME_PLACE
from runtime.moments import uuid_floor

__all__ = ["Period", "history", "standings"]

#: Windows that one answer shows: those that are closest to their limit.
MOST = 1000

#: How far the clock of whoever made an entry's id may be off.
_SKEW = timedelta(hours=1)

# A window is known once something was counted in it. A limit on one subject is shown before that
# too, and so is every limit of the tenant that was asked about.
_STANDINGS = f"""
WITH rules AS (
    SELECT *, CASE WHEN subject_id IS NOT NULL THEN subject_id
        WHEN scope = 'workspace' THEN workspace_id
        WHEN scope = 'tenant' THEN coalesce(tenant_id, %(tenant)s::uuid) END AS only_subject
    FROM limits WHERE workspace_id = %(workspace)s AND archived_at IS NULL AND amount IS NOT NULL
        AND (%(resource)s::text IS NULL OR resource = %(resource)s)
), places AS (
    SELECT w.limit_id, w.subject_id, w.tenant_id
    FROM credit_windows AS w JOIN rules AS l ON l.id = w.limit_id
    WHERE w.workspace_id = %(workspace)s AND (%(tenant)s::uuid IS NULL
        OR (l.only_subject IS NULL AND w.tenant_id = %(tenant)s))
    UNION
    SELECT id, only_subject,
        CASE WHEN scope = 'tenant' THEN coalesce(tenant_id, only_subject) ELSE tenant_id END
    FROM rules WHERE only_subject IS NOT NULL
), clock AS (SELECT extract(epoch FROM clock_timestamp())::float8 AS now)
SELECT l.id, l.resource, l.scope, l.window_seconds, l.amount, p.subject_id, p.tenant_id,
    t.key AS tenant_key, counted.amount AS counted, counted.oldest, held.amount AS held
FROM places AS p JOIN rules AS l ON l.id = p.limit_id CROSS JOIN clock
LEFT JOIN tenants AS t ON t.id = p.tenant_id
CROSS JOIN LATERAL (
    SELECT floor((clock.now - l.window_seconds) / (l.window_seconds::float8 / {SLICES}))::bigint
        AS first
) AS live
CROSS JOIN LATERAL (
    SELECT coalesce(sum(b.amount), 0) AS amount,
        min(b.slice) FILTER (WHERE b.amount > 0) AS oldest
    FROM credit_buckets AS b
    WHERE b.limit_id = p.limit_id AND b.subject_id = p.subject_id AND b.slice >= live.first
) AS counted
CROSS JOIN LATERAL (
    SELECT coalesce(sum(r.amount), 0) AS amount FROM reservations AS r
    WHERE r.limit_id = p.limit_id AND r.subject_id = p.subject_id AND r.slice >= live.first
) AS held
WHERE (%(tenant)s::uuid IS NULL OR p.tenant_id = %(tenant)s)
  AND NOT (l.tenant_id IS NULL AND p.tenant_id IS NOT NULL AND EXISTS (
    SELECT FROM limits AS o WHERE {SAME_PLACE} AND o.tenant_id = p.tenant_id))
ORDER BY counted.amount / greatest(l.amount, 1) DESC, l.id, p.subject_id LIMIT {MOST}
"""  # noqa: S608 - constants of ours

_HISTORY = """
SELECT resource, date_trunc(%(group)s, created_at, 'UTC') AS since, sum(amount) AS amount
FROM usage_records
WHERE workspace_id = %(workspace)s AND id >= %(first)s AND id < %(last)s
  AND created_at >= %(since)s AND created_at < %(until)s
"""


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when usage is added up, and by what."""

    since: datetime
    until: datetime
    #: `hour` or `day`.
    group: str = "day"


async def standings(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    *,
    tenant_id: UUID | None = None,
    resource: str | None = None,
) -> list[dict[str, Any]]:
    """Return how each limit stands, fullest first; with a tenant, those that count for it alone.

    `used` is settled and `reserved` is what runs hold right now; `resetsAt` is when the oldest of
    both leaves the window. Limits that all tenants share are left out of a tenant's: what the
    others used is none of its business.
    """
    cursor = await connection.execute(
        _STANDINGS, {"workspace": workspace_id, "tenant": tenant_id, "resource": resource}
    )
    return [_standing(row) for row in await cursor.fetchall()]


def _standing(row: DictRow) -> dict[str, Any]:
    counted, held, seconds = row["counted"], row["held"], row["window_seconds"]
    shown: dict[str, Any] = {
        "limitId": str(row["id"]),
        "resource": row["resource"],
        "scope": row["scope"],
        "limit": float(row["amount"]),
        "window": shown_window(seconds),
        "windowSeconds": seconds,
        "used": float(counted - held),
        "reserved": float(held),
        "remaining": float(max(Decimal(0), row["amount"] - counted)),
    }
    if row["tenant_id"] is not None:
        shown |= {"tenantId": str(row["tenant_id"]), "tenantKey": row["tenant_key"]}
    if row["scope"] in ("integration", "connection", "element"):
        shown[f"{row['scope']}Id"] = str(row["subject_id"])
    if row["oldest"] is not None:
        leaves = (row["oldest"] + 1) * (seconds / SLICES) + seconds
        shown["resetsAt"] = datetime.fromtimestamp(leaves, UTC)
    return shown


async def history(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    period: Period,
    *,
    tenant_id: UUID | None = None,
    resource: str | None = None,
) -> list[dict[str, Any]]:
    """Return `{resource, total, history: [{from, amount}]}` of each resource that was used."""
    conditions = ""
    if tenant_id is not None:
        conditions += " AND tenant_id = %(tenant)s"
    if resource is not None:
        conditions += " AND resource = %(resource)s"
    cursor = await connection.execute(
        f"{_HISTORY}{conditions} GROUP BY 1, 2 ORDER BY 1, 2",
        {
            "workspace": workspace_id,
            "tenant": tenant_id,
            "resource": resource,
            "group": period.group,
            "since": period.since,
            "until": period.until,
            "first": uuid_floor(period.since - _SKEW),
            "last": uuid_floor(period.until + _SKEW),
        },
    )
    by_resource = groupby(await cursor.fetchall(), key=itemgetter("resource"))
    return [_totalled(name, list(rows)) for name, rows in by_resource]


def _totalled(resource: str, rows: list[DictRow]) -> dict[str, Any]:
    return {
        "resource": resource,
        "total": float(sum(row["amount"] for row in rows)),
        "history": [{"from": row["since"], "amount": float(row["amount"])} for row in rows],
    }
