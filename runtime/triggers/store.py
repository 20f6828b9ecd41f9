"""Reads what triggers hang on, for many tenants of a workspace at once, and writes them down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.config.store import ElementRow
from runtime.triggers.live import Link, Trigger

__all__ = [
    "flows_of",
    "known_triggers",
    "links_of",
    "live_tenants",
    "lock_tenants",
    "retire",
    "write",
]

# In the order of the ids, so that two that want the same tenants never wait in a circle.
_LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended('triggers/' || id::text, 0))
FROM (SELECT unnest(%s::uuid[]) AS id ORDER BY 1) AS t
"""

_FLOWS = """
SELECT id, kind, layer, workspace_id, tenant_id, integration_id, connection_id, app, key, parent_id,
    spec, revision, instance_key
FROM elements WHERE kind = 'flow' AND archived_at IS NULL
    AND (%(key)s::text IS NULL OR key = %(key)s)
    AND (workspace_id IS NULL OR (workspace_id = %(workspace)s
        AND (tenant_id IS NULL OR tenant_id = ANY(%(tenants)s))))
"""

_LINKS = """
SELECT c.id, c.tenant_id, c.integration_id, e.spec->>'connectorKey' AS app, CASE
    WHEN e.archived_at IS NOT NULL THEN 'The integration is archived.'
    WHEN c.deactivated_by IS NOT NULL THEN 'The connection is deactivated.'
    WHEN c.state <> 'READY' THEN 'The connection is disconnected.' END AS obstacle
FROM connections AS c JOIN elements AS e ON e.id = c.integration_id
WHERE c.workspace_id = %s AND c.tenant_id = ANY(%s) AND c.archived_at IS NULL
"""

_KNOWN = """
SELECT t.id, t.tenant_id, t.flow_key, t.config, t.revision, t.integration_id, t.is_live, t.reason,
    t.type, c.archived_at IS NOT NULL AS is_disconnected
FROM flow_triggers AS t LEFT JOIN connections AS c ON c.id = t.connection_id
WHERE t.tenant_id = ANY(%(tenants)s) AND (%(key)s::text IS NULL OR t.flow_key = %(key)s)
"""

_WRITE = """
INSERT INTO flow_triggers (id, workspace_id, tenant_id, flow_id, flow_key, node_key, type,
    integration_id, connection_id, instance_key, config, revision, is_live, reason)
SELECT id, %(workspace)s, tenant_id, flow_id, flow_key, node_key, type, integration_id,
    connection_id, instance_key, config, revision, reason IS NULL, reason
FROM json_to_recordset(%(rows)s::json) AS new(
    id uuid, tenant_id uuid, flow_id uuid, flow_key text, node_key text, type text,
    integration_id uuid, connection_id uuid, instance_key text, config json, revision text,
    reason text)
ON CONFLICT (id) DO UPDATE SET type = excluded.type, config = excluded.config,
    integration_id = excluded.integration_id, revision = excluded.revision,
    is_live = excluded.is_live, reason = excluded.reason, updated_at = now()
"""

_RETIRE = """
UPDATE flow_triggers AS t SET is_live = false, reason = r.reason, updated_at = now()
FROM unnest(%s::uuid[], %s::text[]) AS r(id, reason) WHERE t.id = r.id
"""


async def lock_tenants(connection: AsyncConnection[DictRow], tenants: Sequence[UUID]) -> None:
    """Wait until nobody else works out the triggers of these tenants.

    What is read after this is newer than what those read who held the lock before.
    """
    await connection.execute(_LOCK, (list(tenants),))


async def live_tenants(
    connection: AsyncConnection[DictRow], tenants: Sequence[UUID]
) -> frozenset[UUID]:
    """Return those of the tenants that are not archived."""
    cursor = await connection.execute(
        "SELECT id FROM tenants WHERE id = ANY(%s) AND archived_at IS NULL", (list(tenants),)
    )
    return frozenset(row["id"] for row in await cursor.fetchall())


async def flows_of(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    tenants: Sequence[UUID],
    key: str | None,
) -> Sequence[ElementRow]:
    """Return every live row of a flow (one key, or all) that any of the tenants can see."""
    cursor = await connection.execute(
        _FLOWS, {"workspace": workspace_id, "tenants": list(tenants), "key": key}
    )
    return [ElementRow(**row) for row in await cursor.fetchall()]


async def links_of(
    connection: AsyncConnection[DictRow], workspace_id: UUID, tenants: Sequence[UUID]
) -> Mapping[UUID, list[Link]]:
    """Return the connections of each tenant that are not archived."""
    cursor = await connection.execute(_LINKS, (workspace_id, list(tenants)))
    links: defaultdict[UUID, list[Link]] = defaultdict(list)
    for row in await cursor.fetchall():
        links[row.pop("tenant_id")].append(Link(**row))
    return links


async def known_triggers(
    connection: AsyncConnection[DictRow], tenants: Sequence[UUID], key: str | None
) -> Mapping[UUID, DictRow]:
    """Return what is on record of the tenants' triggers, by id."""
    cursor = await connection.execute(_KNOWN, {"tenants": list(tenants), "key": key})
    return {row["id"]: row for row in await cursor.fetchall()}


async def write(
    connection: AsyncConnection[DictRow], workspace_id: UUID, triggers: Iterable[Trigger]
) -> None:
    """Put triggers on record as they are."""
    rows: list[dict[str, Any]] = [
        {
            "id": each.id.uuid,
            "tenant_id": each.id.tenant_id,
            "flow_id": each.id.flow_id,
            "flow_key": each.flow_key,
            "node_key": each.id.node_key,
            "type": each.type,
            "integration_id": each.integration_id,
            "connection_id": each.id.connection_id,
            "instance_key": each.id.instance_key,
            "config": each.config,
            "revision": each.revision,
            "reason": each.reason,
        }
        for each in triggers
    ]
    if rows:
        await connection.execute(_WRITE, {"workspace": workspace_id, "rows": jsontext.dumps(rows)})


async def retire(connection: AsyncConnection[DictRow], reasons: Mapping[UUID, str]) -> None:
    """Note that triggers are no longer live, and why."""
    if reasons:
        await connection.execute(_RETIRE, (list(reasons), list(reasons.values())))
