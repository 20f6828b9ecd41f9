"""Fills a limit's windows from the usage ledger, when it begins to count or counts again.

While a limit is archived, unlimited, or stood in for by a tenant's own one, nothing is counted for
it; what was used meanwhile is in the ledger, and still lies inside the window.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.clock import now
from runtime.credits.limits import SLICES, LimitRule
from runtime.moments import uuid_floor

__all__ = ["SAME_PLACE", "recount"]

#: Condition under which the limits `o` and `l` are about the same, apart from whose they are.
SAME_PLACE = (
    "o.workspace_id = l.workspace_id AND o.resource = l.resource AND o.scope = l.scope"
    " AND o.subject_id IS NOT DISTINCT FROM l.subject_id AND o.window_seconds = l.window_seconds"
    " AND o.archived_at IS NULL"
)

#: How far the clock of whoever made an entry's id may be off.
_SKEW = timedelta(hours=1)

#: The column of the ledger that a limit of each scope counts by.
_SUBJECTS = {
    "workspace": "workspace_id",
    "tenant": "tenant_id",
    "integration": "integration_id",
    "connection": "connection_id",
    "element": "element_id",
}

# In the order of the key, as the ledger locks them. A window that a reservation makes after this is
# not ours to fill: whoever made it counts in it already, and holds its lock.
_LOCK = """
SELECT subject_id FROM credit_windows WHERE limit_id = %(limit)s
    AND (%(only)s::uuid IS NULL OR tenant_id = %(only)s)
ORDER BY limit_id, subject_id FOR UPDATE
"""

# Entries are counted from when they were settled, which is later than when they were reserved: so
# nothing leaves the window too early.
_ENTRIES = """
SELECT {subject} AS subject_id, {owner} AS tenant_id, amount,
    floor(extract(epoch FROM created_at)::float8 / %(slice)s)::bigint AS slice
FROM usage_records
WHERE workspace_id = %(workspace)s AND resource = %(resource)s AND id >= %(since)s
    AND {subject} IS NOT NULL AND tenant_id <> ALL(%(elsewhere)s::uuid[])
    AND (%(subject)s::uuid IS NULL OR {subject} = %(subject)s)
    AND (%(only)s::uuid IS NULL OR tenant_id = %(only)s)
"""

_PREPARE = """
INSERT INTO credit_windows (limit_id, subject_id, workspace_id, tenant_id)
SELECT DISTINCT %(limit)s::uuid, subject_id, %(workspace)s::uuid, tenant_id
FROM ({entries}) AS e ORDER BY 2 ON CONFLICT DO NOTHING
"""

# Buckets that stay are changed, not replaced: a settlement that waits for the window's lock has
# chosen its bucket already, and follows it to its new version but not to another row.
_FILL = """
WITH entries AS (
    SELECT subject_id, tenant_id, slice, amount FROM ({entries}) AS e
    UNION ALL
    SELECT subject_id, {owner}, slice, amount FROM reservations
    WHERE limit_id = %(limit)s AND (%(only)s::uuid IS NULL OR tenant_id = %(only)s)
), sums AS (
    SELECT e.subject_id, e.tenant_id, e.slice, sum(e.amount) AS amount FROM entries AS e
    WHERE e.subject_id = ANY(%(locked)s) AND e.slice >= floor(
        (extract(epoch FROM clock_timestamp())::float8 - %(seconds)s) / %(slice)s)
    GROUP BY 1, 2, 3
), gone AS (
    DELETE FROM credit_buckets AS b WHERE b.limit_id = %(limit)s
        AND b.subject_id = ANY(%(locked)s) AND NOT EXISTS (
        SELECT FROM sums AS s WHERE s.subject_id = b.subject_id AND s.slice = b.slice)
)
INSERT INTO credit_buckets (limit_id, subject_id, slice, workspace_id, tenant_id, amount)
SELECT %(limit)s, subject_id, slice, %(workspace)s, tenant_id, amount FROM sums
ON CONFLICT (limit_id, subject_id, slice) DO UPDATE SET amount = excluded.amount
"""

_TOTAL = """
UPDATE credit_windows AS w SET total = coalesce((SELECT sum(b.amount) FROM credit_buckets AS b
    WHERE b.limit_id = w.limit_id AND b.subject_id = w.subject_id), 0)
WHERE w.limit_id = %(limit)s AND w.subject_id = ANY(%(locked)s)
"""


async def recount(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    rule: LimitRule,
    *,
    tenant_id: UUID | None = None,
) -> None:
    """Count for a limit what was used inside its window, and what runs hold of it right now.

    With `tenant_id` only that tenant's windows are counted anew, where tenants have their own.
    Needs the manager's scope; reservations wait meanwhile.
    """
    private = rule.tenant_id is not None or rule.scope in ("tenant", "connection")
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "limit": rule.id,
        "resource": rule.resource,
        "subject": rule.subject_id,
        "seconds": rule.window_seconds,
        "slice": rule.window_seconds / SLICES,
        "since": uuid_floor(now() - timedelta(seconds=rule.window_seconds) - _SKEW),
        "only": (rule.tenant_id or tenant_id) if private else None,
        "elsewhere": await _elsewhere(connection, rule),
    }
    owner = "tenant_id" if private else "NULL::uuid"
    entries = _ENTRIES.format(subject=_SUBJECTS[rule.scope], owner=owner)
    await connection.execute(_PREPARE.format(entries=entries), values)
    cursor = await connection.execute(_LOCK, values)
    values["locked"] = [row["subject_id"] for row in await cursor.fetchall()]
    await connection.execute(_FILL.format(entries=entries, owner=owner), values)
    await connection.execute(_TOTAL, values)


async def _elsewhere(connection: AsyncConnection[DictRow], rule: LimitRule) -> list[UUID]:
    """Return the tenants who have a limit of their own in place of a workspace's."""
    if rule.tenant_id is not None:
        return []
    cursor = await connection.execute(
        f"SELECT o.tenant_id FROM limits AS o JOIN limits AS l ON {SAME_PLACE}"  # noqa: S608 - ours
        " WHERE l.id = %s AND o.tenant_id IS NOT NULL",
        (rule.id,),
    )
    return [row["tenant_id"] for row in await cursor.fetchall()]
