"""What a workspace is told of, written where it happens: statements that add deliveries.

They run in the transaction of what they tell of, so there is no event without the fact and no fact
without its event. Each is one INSERT … SELECT over the endpoints that want the event: where there
are none it writes nothing, and what is told is put together for nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.db import Query

__all__ = ["EVENTS", "connections_told", "flows_queued", "flows_started", "runs_told", "told"]

#: Every event that an endpoint can ask for.
EVENTS = (
    *(f"flowRun.{what}" for what in ("queued", "started", "completed", "failed", "stopped")),
    *(f"actionRun.{what}" for what in ("completed", "failed", "stopped")),
    *(f"connection.{what}" for what in ("created", "deleted", "disconnected", "reconnected")),
    "alert.created",
)

#: Bytes of an input, an output, an error or a meta that an event carries.
_LARGEST = 8192


def _capped(value: LiteralString) -> LiteralString:
    return (
        f"CASE WHEN octet_length(({value})::text) > {_LARGEST}"
        f" THEN jsonb_build_object('truncated', true) ELSE {value} END"
    )


_ERROR = f"""CASE WHEN octet_length(r.error::text) > {_LARGEST} THEN jsonb_build_object(
    'type', r.error->'type', 'key', r.error->'key', 'message', left(r.error->>'message', 1000),
    'truncated', true) ELSE r.error END"""

_TENANT = """'tenantId', r.tenant_id,
    'tenantKey', (SELECT t.key FROM tenants AS t WHERE t.id = r.tenant_id)"""

_RUN = f"""CASE r.kind WHEN 'flow' THEN jsonb_build_object('flowRun', jsonb_build_object(
    'id', r.id, 'state', r.status, 'flowId', r.element_id, 'flowKey', r.element_key, {_TENANT},
    'integrationId', r.integration_id, 'connectionId', r.connection_id,
    'errors', CASE WHEN r.error IS NULL THEN '[]' ELSE jsonb_build_array({_ERROR}) END,
    'input', {_capped("r.input")}, 'output', {_capped("r.output")}, 'meta', {_capped("r.meta")},
    'createdAt', r.created_at, 'startTime', r.started_at, 'endTime', r.finished_at))
ELSE jsonb_build_object('actionRun', jsonb_build_object(
    'id', r.id, 'status', r.status, 'actionId', r.element_id, 'actionKey', r.element_key, {_TENANT},
    'integrationId', r.integration_id, 'connectionId', r.connection_id, 'attempt', r.attempt,
    'error', {_ERROR},
    'input', {_capped("r.input")}, 'output', {_capped("r.output")}, 'meta', {_capped("r.meta")},
    'createdAt', r.created_at, 'startedAt', r.started_at, 'finishedAt', r.finished_at)) END"""

_CONNECTION = f"""jsonb_build_object('connection', jsonb_build_object(
    'id', r.id, 'key', r.key, 'name', r.name, {_TENANT}, 'integrationId', r.integration_id,
    'integrationKey', (SELECT e.key FROM elements AS e WHERE e.id = r.integration_id),
    'state', r.state, 'isDeactivated', r.deactivated_by IS NOT NULL OR r.archived_at IS NOT NULL,
    'error', {_ERROR}, 'createdAt', r.created_at, 'archivedAt', r.archived_at))"""  # noqa: S608 - ours

_RUN_EVENT = (
    "CASE r.kind WHEN 'flow' THEN 'flowRun.' ELSE 'actionRun.' END"
    " || CASE r.status WHEN 'running' THEN 'started' ELSE r.status END"
)

#: What `runs_told` reads of a row.
_RUN_COLUMNS = (
    "id, workspace_id, tenant_id, kind, status, element_id, element_key, integration_id,"
    " connection_id, attempt, error, meta, created_at, started_at, finished_at"
)


def told(rows: LiteralString, event: LiteralString, data: LiteralString) -> LiteralString:
    """Return the statement that tells of `rows`, called `r`: SQL of the event and of its data.

    Each row has a workspace_id and a tenant_id, which may be null.
    """
    return f"""
    INSERT INTO webhook_deliveries (id, workspace_id, tenant_id, endpoint_id, event, data)
    SELECT vesicle.uuid7(), r.workspace_id, r.tenant_id, w.id, n.event, {data}
    FROM ({rows}) AS r CROSS JOIN LATERAL (SELECT {event} AS event) AS n
    JOIN webhook_endpoints AS w ON w.workspace_id = r.workspace_id AND w.is_enabled
        AND w.events && ARRAY[n.event, split_part(n.event, '.', 1) || '.*', '*']
    """  # noqa: S608 - our own SQL


def runs_told(rows: LiteralString) -> LiteralString:
    """Return the statement that tells of runs as they are now.

    `rows` selects what a run's row has, the error, input and output without secrets, and runs of
    the kinds `action` and `flow` only.
    """
    return told(rows, _RUN_EVENT, _RUN)


_FLOWS = runs_told(
    f"SELECT {_RUN_COLUMNS}, NULL::jsonb AS input, NULL::jsonb AS output FROM runs"  # noqa: S608 - ours
    " WHERE id = ANY(%(ids)s::uuid[]) AND id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid"
    " AND kind = 'flow'"
)


def flows_queued(ids: Sequence[UUID]) -> Query:
    """Return what tells of flow runs that the same transaction has written."""
    return Query(_FLOWS, {"ids": list(ids), "first_id": min(ids), "last_id": max(ids)})


def flows_started(run_id: UUID) -> Query:
    """Return what tells of a flow run that a worker has just claimed."""
    return flows_queued([run_id])


_CONNECTIONS = told(
    "SELECT * FROM connections WHERE id = ANY(%(ids)s::uuid[])", "%(event)s::text", _CONNECTION
)


async def connections_told(
    connection: AsyncConnection[DictRow], event: str, ids: Sequence[UUID]
) -> None:
    """Tell that connections were `created`, `deleted`, `disconnected` or `reconnected`."""
    if ids:
        values = {"event": f"connection.{event}", "ids": list(ids)}
        await connection.execute(_CONNECTIONS, values)
