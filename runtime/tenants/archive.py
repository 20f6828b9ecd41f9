"""Archives a tenant, with everything that it has going, and undoes just that.

Workers lock many runs in one statement, in whatever order. So nothing here waits for a run's row:
one that is being taken at this moment is left for another pass, and one that is taken after the
archive is committed is refused by the claim (runtime/runs/hold.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credits.ledger import settle
from runtime.errors import RunStoppedError
from runtime.outbox import connections_told
from runtime.runs.stop import end_queued
from runtime.tenancy import Owner

__all__ = ["Halted", "archive_tenant", "halt_runs", "restore_tenant"]

#: Runs that are ended in one statement.
_BATCH = 2000

#: Neither ended nor asked to.
_GOING = (
    "workspace_id = %(workspace)s AND tenant_id = %(tenant)s"
    " AND (status = 'queued' OR (status = 'running' AND NOT stop_requested))"
)


@dataclass(slots=True)
class Halted:
    """What became of the runs that a tenant had going."""

    #: Ended before they began.
    stopped: list[UUID] = field(default_factory=list)
    #: Running: the worker that holds them has to be told.
    asked: list[UUID] = field(default_factory=list)
    #: How many were just being taken or finished by a worker.
    left: int = 0


async def archive_tenant(connection: AsyncConnection[DictRow], owner: Owner) -> Halted | None:
    """Archive a tenant, switch its connections off and end its runs; None if it was archived.

    Needs the manager's scope. After the commit, call `halt_runs` again while runs are left.
    """
    cursor = await connection.execute(
        "UPDATE tenants SET archived_at = now(), updated_at = now(), revision = revision + 1"
        " WHERE id = %s AND archived_at IS NULL",
        (owner.tenant_id,),
    )
    if not cursor.rowcount:
        return None
    cursor = await connection.execute(
        "UPDATE connections SET deactivated_by = 'tenant', updated_at = now(),"
        " revision = revision + 1"
        " WHERE tenant_id = %s AND archived_at IS NULL AND deactivated_by IS NULL RETURNING id",
        (owner.tenant_id,),
    )
    switched = [row["id"] for row in await cursor.fetchall()]
    await connections_told(connection, "disconnected", switched)
    return await halt_runs(connection, owner)


async def halt_runs(connection: AsyncConnection[DictRow], owner: Owner) -> Halted:
    """End the queued runs of an archived tenant, and ask those that run to stop."""
    place = {"workspace": owner.workspace_id, "tenant": owner.tenant_id}
    halted = Halted()
    while True:
        cursor = await connection.execute(
            f"SELECT id, status FROM runs WHERE {_GOING} ORDER BY id LIMIT %(batch)s"  # noqa: S608 - ours
            " FOR NO KEY UPDATE SKIP LOCKED",
            {**place, "batch": _BATCH},
        )
        rows = await cursor.fetchall()
        if not rows:
            break
        queued = [row["id"] for row in rows if row["status"] == "queued"]
        running = [row["id"] for row in rows if row["status"] == "running"]
        await end_queued(connection, queued, RunStoppedError("The tenant was archived."))
        await connection.execute(
            "UPDATE runs SET stop_requested = true WHERE id = ANY(%s)", (running,)
        )
        halted.stopped += queued
        halted.asked += running
    # A run that a stopping worker handed back still holds what it had reserved. All at once, since
    # the ledger locks windows in their order.
    await settle(connection, {run_id: {} for run_id in halted.stopped})
    cursor = await connection.execute(
        f"SELECT count(*) AS left FROM runs WHERE {_GOING}",  # noqa: S608 - ours
        place,
    )
    row = await cursor.fetchone()
    halted.left = row["left"] if row else 0
    return halted


async def restore_tenant(connection: AsyncConnection[DictRow], owner: Owner) -> bool:
    """Undo an archive; return whether the tenant was archived. Runs that were stopped stay so."""
    cursor = await connection.execute(
        "UPDATE tenants SET archived_at = NULL, updated_at = now(), revision = revision + 1"
        " WHERE id = %s AND archived_at IS NOT NULL",
        (owner.tenant_id,),
    )
    if not cursor.rowcount:
        return False
    cursor = await connection.execute(
        "UPDATE connections SET deactivated_by = NULL, updated_at = now(), revision = revision + 1"
        " WHERE tenant_id = %s AND deactivated_by = 'tenant' RETURNING id",
        (owner.tenant_id,),
    )
    switched = [row["id"] for row in await cursor.fetchall()]
    await connections_told(connection, "reconnected", switched)
    return True
