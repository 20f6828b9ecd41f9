"""Has a flow run that waits go on now: a signal came, or the flow that it waits for has ended."""

from __future__ import annotations

from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.dispatch import Dispatch
from runtime.runs.sending import outgoing_row

__all__ = ["note_signal", "send_woken"]

# The row says that something came, so that a worker which is just about to put the run off sees it.
_SIGNAL = """
UPDATE runs SET waiting = '{"reason": "signalled"}',
    due_at = CASE WHEN status = 'queued' THEN NULL ELSE due_at END,
    sent_at = CASE WHEN status = 'queued' THEN now() ELSE sent_at END
WHERE id = %s AND status IN ('queued', 'running')
RETURNING id, status, workspace_id, tenant_id, kind, queue, priority, connection_id, element_id
"""


async def note_signal(connection: AsyncConnection[DictRow], run_id: UUID) -> DictRow | None:
    """Note on a run that something came for it; None if it has ended or does not exist."""
    cursor = await connection.execute(_SIGNAL, (run_id,))
    return await cursor.fetchone()


async def send_woken(dispatch: Dispatch, row: DictRow | None) -> None:
    """Send a run that was woken, once its signal is committed."""
    if row is None or row["status"] != "queued":
        return
    # Its message may still lie in the queue until the time that does not matter any more.
    await dispatch.withdraw(row["queue"], [row["id"]])
    await dispatch.send([outgoing_row(row)])
