"""Sends runs whose wait is nearly over: retries and parked runs that wait for longer than a minute.

Their messages get there ahead of time, with a delay, so that the queue itself can be on time.
"""

from __future__ import annotations

from runtime.db import Database
from runtime.dispatch import Dispatch
from scheduler.sending import send

__all__ = ["AHEAD", "send_due"]

#: Seconds ahead of their time at which runs are sent; several times this duty's own pace.
AHEAD = 30.0
_BATCH = 1000

_DUE = """
WITH due AS (
    SELECT id FROM runs
    WHERE status = 'queued' AND sent_at IS NULL
      AND due_at < now() + make_interval(secs => %(ahead)s)
    ORDER BY due_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
UPDATE runs AS r SET sent_at = greatest(r.due_at, now()) FROM due WHERE r.id = due.id
RETURNING r.id, r.workspace_id, r.tenant_id, r.kind, r.queue, r.priority, r.connection_id,
    r.element_id, extract(epoch FROM r.due_at - now())::float8 AS delay
"""


async def send_due(database: Database, dispatch: Dispatch) -> int:
    """Send what is due soon; return how many runs that were. Any number of schedulers may."""
    total = 0
    while True:
        async with database.unscoped("scheduler") as connection:
            cursor = await connection.execute(_DUE, {"ahead": AHEAD, "batch": _BATCH})
            rows = await cursor.fetchall()
        await send(database, dispatch, rows)
        total += len(rows)
        if len(rows) < _BATCH:
            return total
