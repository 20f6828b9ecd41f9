"""Brings what a waiting node waits for: an event, or somebody's decision."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.errors import BadRequestError, NotFoundError
from runtime.flows.wake import note_signal

__all__ = ["decide", "deliver"]


async def deliver(
    connection: AsyncConnection[DictRow], run_id: UUID, event: str, data: Any
) -> tuple[DictRow | None, int]:
    """Give an event to the nodes of a run that wait for it; return the run's row and their number.

    Raises BadRequestError if none does.
    """
    await _locked(connection, run_id)
    cursor = await connection.execute(
        "UPDATE node_runs SET signal = %s WHERE run_id = %s AND status = 'waiting'"
        " AND signal IS NULL AND waiting->>'for' = 'event' AND waiting->>'event' = %s",
        (jsontext.dumps({"data": data}), run_id, event),
    )
    if not cursor.rowcount:
        raise BadRequestError(
            f"No node of this run waits for the event {event[:100]!r}.", data={"path": "/event"}
        )
    return await note_signal(connection, run_id), cursor.rowcount


async def decide(
    connection: AsyncConnection[DictRow], run_id: UUID, node_run: UUID, decision: dict[str, Any]
) -> DictRow | None:
    """Put a decision on an approval that waits: `{approved, comment, by, data}`.

    Raises BadRequestError if it waits no more, or for something else.
    """
    await _locked(connection, run_id)
    cursor = await connection.execute(
        "UPDATE node_runs SET signal = %s WHERE run_id = %s AND id = %s AND status = 'waiting'"
        " AND signal IS NULL AND waiting->>'for' = 'approval'",
        (jsontext.dumps(decision), run_id, node_run),
    )
    if not cursor.rowcount:
        raise BadRequestError("This node run waits for no decision, or has been decided.")
    return await note_signal(connection, run_id)


async def _locked(connection: AsyncConnection[DictRow], run_id: UUID) -> None:
    """Take the run's row, so that it does not end meanwhile; NotFoundError if there is none."""
    cursor = await connection.execute(
        "SELECT status FROM runs WHERE id = %s AND kind = 'flow' FOR UPDATE", (run_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no flow run {run_id}.")
    if row["status"] not in ("queued", "running"):
        raise BadRequestError(f"The flow run has ended: {row['status']}.")
