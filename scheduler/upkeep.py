"""What has to be tidied now and then: partitions ahead of time, keys and reservations past it."""

from __future__ import annotations

from runtime.db import Database

__all__ = [
    "ensure_partitions",
    "forget_deliveries",
    "forget_expired_keys",
    "release_orphans",
]

#: Months of partitions that exist ahead of time.
_MONTHS = 2

#: Rows that one statement deletes.
_BATCH = 5000

_OLD_DELIVERIES = """
DELETE FROM webhook_deliveries WHERE id IN (
    SELECT id FROM webhook_deliveries
    WHERE created_at < now() - make_interval(secs => %(days)s * 86400) LIMIT %(batch)s)
"""

#: What a run reserved is settled in the statement that ends it; this is for what slipped through.
#: A request that passes through has no run, and is over, whatever comes, before two minutes are; a
#: node of a flow reserves under an id that is made from its run's (UUIDv5), for an hour at most.
_ORPHANS = """
WITH gone AS (
    DELETE FROM reservations AS r
    WHERE r.created_at < now() - CASE WHEN substr(r.run_id::text, 15, 1) = '5'
            THEN interval '1 hour' ELSE interval '2 minutes' END
        AND NOT EXISTS (
        SELECT FROM runs WHERE runs.id = r.run_id AND runs.status IN ('queued', 'running'))
    RETURNING r.limit_id, r.subject_id, r.slice, r.amount
), locked AS (
    SELECT w.limit_id, w.subject_id FROM credit_windows AS w
    WHERE (w.limit_id, w.subject_id) IN (SELECT limit_id, subject_id FROM gone)
    ORDER BY 1, 2 FOR UPDATE
), emptied AS (
    UPDATE credit_buckets AS b SET amount = b.amount - g.amount
    FROM (SELECT limit_id, subject_id, slice, sum(amount) AS amount FROM gone GROUP BY 1, 2, 3) AS g
    JOIN locked USING (limit_id, subject_id)
    WHERE b.limit_id = g.limit_id AND b.subject_id = g.subject_id AND b.slice = g.slice
    RETURNING b.limit_id, b.subject_id, g.amount
)
UPDATE credit_windows AS w SET total = w.total - e.amount
FROM (SELECT limit_id, subject_id, sum(amount) AS amount FROM emptied GROUP BY 1, 2) AS e
WHERE w.limit_id = e.limit_id AND w.subject_id = e.subject_id
"""


async def ensure_partitions(database: Database) -> int:
    """Make the partitions of the coming months; return how many were made."""
    async with database.unscoped("scheduler") as connection:
        cursor = await connection.execute(
            "SELECT vesicle.ensure_partitions(%s) AS made", (_MONTHS,)
        )
        row = await cursor.fetchone()
    return int(row["made"]) if row else 0


async def forget_expired_keys(database: Database) -> int:
    """Delete idempotency keys whose day is over; return how many."""
    async with database.unscoped("scheduler") as connection:
        cursor = await connection.execute("DELETE FROM idempotency_keys WHERE expires_at < now()")
        return cursor.rowcount


async def forget_deliveries(database: Database, days: float) -> int:
    """Delete webhook deliveries that are older than so many days; return how many.

    Endpoints that were deleted an hour ago go too, with theirs: nobody is writing one any more.
    """
    async with database.unscoped("scheduler") as connection:
        await connection.execute(
            "DELETE FROM webhook_endpoints WHERE deleted_at < now() - interval '1 hour'"
        )
    total = 0
    while True:
        async with database.unscoped("scheduler") as connection:
            cursor = await connection.execute(_OLD_DELIVERIES, {"days": days, "batch": _BATCH})
        total += cursor.rowcount
        if cursor.rowcount < _BATCH:
            return total


async def release_orphans(database: Database) -> None:
    """Give back what is reserved for runs that have ended."""
    async with database.unscoped("scheduler") as connection:
        await connection.execute(_ORPHANS)
