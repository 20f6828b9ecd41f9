"""What the queue has to know of a run, whether it was just made or read from its row."""

from __future__ import annotations

from psycopg.rows import DictRow

from runtime.dispatch import Outgoing
from runtime.runs.states import NewRun
from runtime.tenancy import Owner

__all__ = ["outgoing", "outgoing_row"]


def outgoing(owner: Owner, run: NewRun) -> Outgoing:
    """Return what the queue has to know of a run that was accepted."""
    return Outgoing(
        run.id, owner, run.kind, run.queue, run.priority, run.connection_id, run.element_id
    )


def outgoing_row(row: DictRow, *, delay: float = 0.0) -> Outgoing:
    """Return the same of a run's row: its id, owner, kind, queue, priority and subjects."""
    return Outgoing(
        row["id"],
        Owner(row["workspace_id"], row["tenant_id"]),
        row["kind"],
        row["queue"],
        row["priority"],
        row["connection_id"],
        row["element_id"],
        delay,
    )
