"""Sends runs that were just marked as sent, and takes the mark off where there is no room."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import DictRow

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.runs.sending import outgoing_row

__all__ = ["send"]

# What is due soon waits for its time in the table, all else for its turn.
_UNSEND = """
UPDATE runs SET sent_at = NULL,
    due_at = CASE WHEN due_at > now() + interval '1 second' THEN due_at END
WHERE id = ANY(%s) AND status = 'queued'
"""


async def send(
    database: Database, dispatch: Dispatch, rows: Sequence[DictRow], *, refill: bool = False
) -> None:
    """Send runs, in order. Needs of each its id, owner, kind, queue, priority, delay and subjects.

    The rows are committed as sent before, so that what is lost on the way is sent again later.
    """
    if not rows:
        return
    spilled = await dispatch.send(
        [outgoing_row(row, delay=max(0.0, row["delay"] or 0.0)) for row in rows],
        refill=refill,
    )
    if spilled:
        async with database.unscoped("scheduler") as connection:
            await connection.execute(_UNSEND, (spilled,))
