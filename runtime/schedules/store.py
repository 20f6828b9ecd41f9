"""Schedules as those read and write them who fire them or keep them in step with what they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.schedules.ticks import Outcome
from runtime.schedules.timing import Timing, next_after, spread

__all__ = [
    "Moved",
    "Standing",
    "as_utc",
    "claim_due",
    "database_now",
    "move",
    "put",
    "stand",
    "standing_at",
]

_CLAIM = """
SELECT s.id, s.workspace_id, s.tenant_id, s.kind, s.element_id, s.element_key, s.node_key,
    s.integration_id, s.connection_id, s.instance_key, s.timing::text AS timing, s.input,
    s.nominal_at, s.is_held, s.last_scheduled_at, s.created_at, now() AS now, EXISTS (
        SELECT FROM runs AS r WHERE r.id = s.last_run_id AND r.status IN ('queued', 'running')
    ) AS is_busy
FROM schedules AS s WHERE s.id = ANY(%s) AND s.next_at <= now()
ORDER BY s.next_at, s.id FOR UPDATE SKIP LOCKED
"""

_MOVE = """
UPDATE schedules AS s SET nominal_at = n.nominal_at, next_at = n.next_at, is_held = n.is_held,
    last_scheduled_at = coalesce(n.scheduled_at, s.last_scheduled_at),
    last_run_id = coalesce(n.run_id, s.last_run_id), runs = s.runs + n.runs,
    last_skipped_at = coalesce(n.skipped_at, s.last_skipped_at),
    last_skipped_reason = coalesce(n.reason, s.last_skipped_reason),
    skips = s.skips + CASE WHEN n.skipped_at IS NULL THEN 0 ELSE 1 END
FROM jsonb_to_recordset(%s::jsonb) AS n(id uuid, nominal_at timestamptz, next_at timestamptz,
    is_held boolean, scheduled_at timestamptz, run_id uuid, runs integer, skipped_at timestamptz,
    reason text)
WHERE s.id = n.id
"""

_STAND = """
UPDATE schedules AS s SET timing = n.timing, obstacle = n.obstacle, nominal_at = n.nominal_at,
    next_at = n.next_at, is_held = false, element_id = n.element_id,
    integration_id = n.integration_id, revision = s.revision + 1, updated_at = now()
FROM json_to_recordset(%s::json) AS n(id uuid, timing json, obstacle text,
    nominal_at timestamptz, next_at timestamptz, element_id uuid, integration_id uuid)
WHERE s.id = n.id
"""

_PUT = """
INSERT INTO schedules (id, workspace_id, tenant_id, is_of_trigger, name, kind, element_id,
    element_key, node_key, integration_id, connection_id, instance_key, timing, input, nominal_at,
    next_at)
SELECT id, workspace_id, tenant_id, is_of_trigger, name, kind, element_id, element_key, node_key,
    integration_id, connection_id, instance_key, timing, input, nominal_at, next_at
FROM json_to_recordset(%s::json) AS new(id uuid, workspace_id uuid, tenant_id uuid,
    is_of_trigger boolean, name text, kind text, element_id uuid, element_key text, node_key text,
    integration_id uuid, connection_id uuid, instance_key text, timing json, input jsonb,
    nominal_at timestamptz, next_at timestamptz)
ON CONFLICT (id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """A schedule that has been seen to, and the last run that came of it."""

    id: UUID
    outcome: Outcome
    run_id: UUID | None = None
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a schedule stands: its next tick, if it is to tick at all."""

    nominal_at: datetime | None
    next_at: datetime | None


def standing_at(
    timing: Timing, after: datetime, *, anchor: datetime, tenant_id: UUID, element_id: UUID
) -> Standing:
    """Return where a schedule stands whose ticks up to a moment are over."""
    nominal = next_after(timing, after, anchor)
    if nominal is None:
        return Standing(None, None)
    return Standing(nominal, nominal + spread(timing, tenant_id, element_id))


async def database_now(connection: AsyncConnection[DictRow]) -> datetime:
    """Return the database's time, which is the one that all schedulers share."""
    row = await (await connection.execute("SELECT now() AS now")).fetchone()
    assert row is not None  # noqa: S101 - it always answers
    return as_utc(row["now"])


def as_utc(moment: datetime) -> datetime:
    """Return a moment in UTC: sums in a zone that changes its clocks would be wrong."""
    return moment.astimezone(UTC)


async def claim_due(connection: AsyncConnection[DictRow], ids: Sequence[UUID]) -> list[DictRow]:
    """Lock those of the schedules that are due and that nobody else holds; return them."""
    cursor = await connection.execute(_CLAIM, (list(ids),))
    rows = await cursor.fetchall()
    for row in rows:
        for name in ("nominal_at", "last_scheduled_at", "created_at", "now"):
            row[name] = row[name] and as_utc(row[name])
    return rows


async def move(connection: AsyncConnection[DictRow], moved: Iterable[Moved]) -> None:
    """Write where schedules stand after their ticks."""
    rows = [
        {
            "id": each.id,
            "nominal_at": each.outcome.nominal,
            "next_at": each.outcome.next_at,
            "is_held": each.outcome.is_held,
            "scheduled_at": each.outcome.ticks[-1] if each.outcome.ticks else None,
            "run_id": each.run_id,
            "runs": each.runs,
            "skipped_at": each.outcome.skipped,
            "reason": each.outcome.reason,
        }
        for each in moved
    ]
    if rows:
        await connection.execute(_MOVE, (jsontext.dumps(rows),))


async def stand(connection: AsyncConnection[DictRow], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what schedules have become: `{id, timing, obstacle, nominal_at, next_at, …}`."""
    if rows:
        await connection.execute(_STAND, (jsontext.dumps(rows),))


async def put(connection: AsyncConnection[DictRow], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write new schedules; those that are there already stay as they are."""
    if rows:
        await connection.execute(_PUT, (jsontext.dumps(rows),))
