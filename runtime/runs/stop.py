"""Stops runs: at once if nobody has begun them, else by asking the worker that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.errors import RunStoppedError
from runtime.outbox import runs_told

__all__ = ["end_queued", "stop_run"]

_TOLD = runs_told("""
    SELECT *, 'stopped' AS status, NULL::jsonb AS input, NULL::jsonb AS output,
        now() AS finished_at
    FROM ended WHERE kind IN ('action', 'flow')
""")

# Without its action's schema nobody knows which parts of an input are sensitive, and these runs
# never got as far as their action; so their records have no input.
_END = f"""
WITH ended AS (
    UPDATE runs AS r SET status = 'stopped', stop_requested = true, error = %(error)s::jsonb,
        finished_at = now(), lease_token = NULL, lease_until = NULL
    FROM unnest(%(ids)s::uuid[], %(records)s::uuid[]) AS i(id, record)
    WHERE r.id = i.id AND r.id = ANY(%(ids)s::uuid[]) AND r.status = 'queued'
    RETURNING i.record, r.id, r.workspace_id, r.tenant_id, r.kind, r.element_id, r.element_key,
        r.element_revision, r.integration_id, r.connection_id, r.attempt, r.error, r.meta,
        r.started_at, r.created_at
), recorded AS (
    INSERT INTO activity_records (id, workspace_id, tenant_id, tag, run_id, status, element_id,
        element_key, element_revision, integration_id, connection_id, attempt, duration_ms, error,
        meta, started_at)
    SELECT record, workspace_id, tenant_id,
        CASE WHEN kind IN ('action', 'flow') THEN kind || ':run' ELSE replace(kind, '-', ':') END
            || ':stopped',
        id, 'stopped', element_id, element_key, element_revision, integration_id, connection_id,
        attempt, coalesce(extract(epoch FROM now() - started_at) * 1000, 0), error, meta, started_at
    FROM ended
), told AS ({_TOLD})
SELECT id FROM ended
"""  # noqa: S608 - our own SQL


async def end_queued(
    connection: AsyncConnection[DictRow], run_ids: Sequence[UUID], error: RunStoppedError
) -> list[UUID]:
    """End those of the runs that are queued, each with its one record; return which those were."""
    if not run_ids:
        return []
    cursor = await connection.execute(
        _END,
        {
            "ids": list(run_ids),
            "records": [uuid_utils.compat.uuid7() for _ in run_ids],
            "error": jsontext.dumps(error.body()),
        },
    )
    return [row["id"] for row in await cursor.fetchall()]


async def stop_run(
    connection: AsyncConnection[DictRow], run_id: UUID
) -> Literal["unknown", "ended", "stopped", "stopping"]:
    """Stop a run: at once if it is queued, else by asking the worker that holds it."""
    if await end_queued(connection, [run_id], RunStoppedError()):
        return "stopped"
    cursor = await connection.execute(
        "UPDATE runs SET stop_requested = true WHERE id = %s AND status = 'running'", (run_id,)
    )
    if cursor.rowcount:
        return "stopping"
    cursor = await connection.execute("SELECT FROM runs WHERE id = %s", (run_id,))
    return "ended" if await cursor.fetchone() is not None else "unknown"
