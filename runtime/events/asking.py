"""The runs that somebody asks for by hand: to subscribe, to look, to set up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import BadRequestError, ConcurrencyError
from runtime.runs.states import NewRun

__all__ = ["insert_pull", "pull_run", "refuse_useless", "setup_run"]

_INSERT = """
INSERT INTO external_pulls (id, workspace_id, tenant_id, integration_id, connection_id,
    subscription_id, run_id, is_full_scan)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (connection_id) WHERE status IN ('queued', 'running') DO NOTHING
"""


def setup_run(row: DictRow, what: str) -> NewRun:
    """Return the run that does something with a subscription while somebody waits."""
    request: dict[str, Any] = {"do": what, "subscriptionId": str(row["id"])}
    return _run(row, "event-setup", "sync", request)


def pull_run(row: DictRow, pull_id: UUID) -> NewRun:
    """Return the run that looks for what changed."""
    return _run(row, "event-pull", "default", {"pullId": str(pull_id)})


def refuse_useless(row: DictRow) -> None:
    """Raise BadRequestError for a subscription that hears nothing now."""
    if row["is_deactivated"]:
        raise BadRequestError(
            "The subscription is deactivated: its connection is archived, or no live trigger of a"
            " flow wants it.",
            data={"status": row["status"], "isDeactivated": True},
        )


async def insert_pull(
    connection: AsyncConnection[DictRow], row: DictRow, run: NewRun, *, full: bool
) -> None:
    """Note a look that is about to be taken. Raises ConcurrencyError while there is another."""
    if row["status"] != "subscribed" or not (row["requires_pull"] or row["requires_full_sync"]):
        raise BadRequestError(
            "Nothing is pulled for this subscription: it is"
            + (" told by webhook." if row["is_real_time"] else f" {row['status']}."),
            data={"status": row["status"], "isRealTime": row["is_real_time"]},
        )
    is_full = full or row["requires_full_sync"] or row["baseline_at"] is None
    cursor = await connection.execute(
        _INSERT,
        (
            UUID(run.request["pullId"]),
            *(row["workspace_id"], row["tenant_id"], row["integration_id"], row["connection_id"]),
            *(row["id"], run.id, is_full),
        ),
    )
    if not cursor.rowcount:
        raise ConcurrencyError(
            "Another pull of this connection is under way; try again when it has ended.",
            data={"resourceId": str(row["connection_id"])},
        )


def _run(row: DictRow, kind: Any, queue: str, request: dict[str, Any]) -> NewRun:
    return NewRun(
        id=uuid_utils.compat.uuid7(),
        kind=kind,
        queue=queue,
        request=request,
        input=None,
        integration_id=row["integration_id"],
        connection_id=row["connection_id"],
    )
