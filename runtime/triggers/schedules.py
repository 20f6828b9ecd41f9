"""Keeps schedules in step with what they hang on: the trigger that makes them, or what they start.

A schedule that stands still keeps what is known of it. When it goes on, its next tick is the first
one from then on: the time between is not made up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.schedules.store import Standing, as_utc, database_now, put, stand, standing_at
from runtime.schedules.timing import timing_of_config, timing_of_text

__all__ = ["sync_schedules"]

_OF_TRIGGERS = """
SELECT t.id, t.workspace_id, t.tenant_id, t.flow_id AS element_id, t.flow_key, t.node_key,
    t.integration_id, t.connection_id, t.instance_key, t.config::text AS config,
    s.id IS NOT NULL AS is_there, s.timing::text AS timing, s.obstacle, s.is_paused, s.created_at,
    CASE WHEN t.type = 'schedule-trigger' THEN t.reason
        ELSE 'The flow has another trigger in its place.' END AS reason
FROM flow_triggers AS t LEFT JOIN schedules AS s ON s.id = t.id
WHERE t.tenant_id = ANY(%(tenants)s) AND (%(key)s::text IS NULL OR t.flow_key = %(key)s)
    AND (s.id IS NOT NULL OR (t.type = 'schedule-trigger' AND t.is_live))
"""

_OF_CALLS = """
SELECT * FROM (
    SELECT s.id, s.tenant_id, s.element_id, s.integration_id, s.timing::text AS timing,
        s.obstacle, s.is_paused, s.created_at, CASE
            WHEN t.archived_at IS NOT NULL THEN 'The tenant is archived.'
            WHEN (e.archived_at IS NULL) IS NOT TRUE THEN 'What it starts is archived.'
            WHEN s.connection_id IS NULL THEN NULL
            WHEN c.archived_at IS NOT NULL THEN 'The connection is archived.'
            WHEN i.archived_at IS NOT NULL THEN 'The integration is archived.'
            WHEN c.deactivated_by IS NOT NULL THEN 'The connection is deactivated.'
            WHEN c.state <> 'READY' THEN 'The connection is disconnected.' END AS reason
    FROM schedules AS s JOIN tenants AS t ON t.id = s.tenant_id
    LEFT JOIN elements AS e ON e.id = s.element_id
    LEFT JOIN connections AS c ON c.id = s.connection_id
    LEFT JOIN elements AS i ON i.id = c.integration_id
    WHERE s.tenant_id = ANY(%(tenants)s) AND NOT s.is_of_trigger
) AS s WHERE obstacle IS DISTINCT FROM reason
"""


async def sync_schedules(
    connection: AsyncConnection[DictRow], tenants: Sequence[UUID], flow_key: str | None
) -> int:
    """Do so for tenants whose triggers are up to date; return how many schedules changed."""
    now = await database_now(connection)
    wanted = {"tenants": list(tenants), "key": flow_key}
    triggers = await (await connection.execute(_OF_TRIGGERS, wanted)).fetchall()
    calls = await (await connection.execute(_OF_CALLS, wanted)).fetchall()
    new = [_new(row, now) for row in triggers if not row["is_there"]]
    changed = [_changed(row, now) for row in triggers if row["is_there"] and _differs(row)]
    changed += [_changed({**row, "config": row["timing"]}, now) for row in calls]
    await put(connection, new)
    await stand(connection, changed)
    return len(new) + len(changed)


def _differs(row: DictRow) -> bool:
    if row["reason"] is not None:
        return bool(row["obstacle"] != row["reason"])
    wanted = orjson.loads(timing_of_config(row["config"]))
    return row["obstacle"] is not None or wanted != orjson.loads(row["timing"])


def _new(row: DictRow, now: datetime) -> dict[str, Any]:
    timing = timing_of_config(row["config"])
    return {
        "id": row["id"],
        "workspace_id": row["workspace_id"],
        "tenant_id": row["tenant_id"],
        "is_of_trigger": True,
        "kind": "flow",
        "element_id": row["element_id"],
        "element_key": row["flow_key"],
        "node_key": row["node_key"],
        "integration_id": row["integration_id"],
        "connection_id": row["connection_id"],
        "instance_key": row["instance_key"],
        "timing": orjson.loads(timing),
        **_members(_standing(row, timing, now, now)),
    }


def _changed(row: DictRow, now: datetime) -> dict[str, Any]:
    stops = row["reason"] is not None
    # One that stands still keeps its times, as they were when it was last sound.
    timing = row["timing"] if stops else timing_of_config(row["config"])
    standing = Standing(None, None)
    if not stops and not row["is_paused"]:
        standing = _standing(row, timing, now, as_utc(row["created_at"]))
    return {
        "id": row["id"],
        "timing": orjson.loads(timing),
        "obstacle": row["reason"],
        "element_id": row["element_id"],
        "integration_id": row["integration_id"],
        **_members(standing),
    }


def _standing(row: DictRow, timing: str, now: datetime, anchor: datetime) -> Standing:
    return standing_at(
        timing_of_text(timing),
        now,
        anchor=anchor,
        tenant_id=row["tenant_id"],
        element_id=row["element_id"],
    )


def _members(standing: Standing) -> dict[str, Any]:
    return {"nominal_at": standing.nominal_at, "next_at": standing.next_at}
