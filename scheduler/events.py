"""What has to happen for events although nobody asks: set up, refresh, pull, give up, forget.

Any number of schedulers may do each of these at once: what one has locked another leaves out, and
of what is started there is one for each connection, by a unique index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import orjson
import structlog
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.events.wishes import TYPES
from scheduler.sending import send

__all__ = ["forget_old_events", "give_up_lost", "pull_due", "refresh_due", "set_up"]

log = structlog.get_logger()

#: What is begun in one go, and what is deleted in one statement.
_BATCH, _DELETED = 500, 5000

# Connections of use whose triggers are not those for which they were set up. One that is being set
# up is left alone, and one that could not be is tried again after a minute, two, four …
_UNSET = """
SELECT DISTINCT c.id AS connection_id, c.workspace_id, c.tenant_id, t.integration_id
FROM flow_triggers AS t
JOIN connections AS c ON c.id = t.connection_id AND c.tenant_id = t.tenant_id
JOIN tenants AS o ON o.id = c.tenant_id
LEFT JOIN subscribed_triggers AS s ON s.trigger_id = t.id
WHERE t.type = ANY(%(types)s)
    AND (NOT %(recent)s OR t.updated_at > now() - interval '10 minutes')
    AND (t.is_live IS DISTINCT FROM coalesce(s.is_live, false)
        OR (t.is_live AND t.revision <> s.revision))
    AND c.archived_at IS NULL AND c.deactivated_by IS NULL AND c.state = 'READY'
    AND o.archived_at IS NULL
    AND NOT EXISTS (SELECT FROM event_setups AS e LEFT JOIN runs AS r ON r.id = e.run_id
        WHERE e.tenant_id = c.tenant_id AND e.connection_id = c.id
        AND r.status IS DISTINCT FROM 'completed'
        AND e.asked_at > now() - interval '1 minute' * power(2, least(e.attempts, 8)))
LIMIT %(batch)s
"""
_ASK = """
INSERT INTO event_setups (connection_id, workspace_id, tenant_id, run_id)
SELECT connection_id, workspace_id, tenant_id, run_id FROM jsonb_to_recordset(%s::jsonb)
    AS new(connection_id uuid, workspace_id uuid, tenant_id uuid, run_id uuid)
ORDER BY connection_id
ON CONFLICT (tenant_id, connection_id) DO UPDATE SET run_id = excluded.run_id, asked_at = now(),
    attempts = CASE WHEN EXISTS (SELECT FROM runs AS r WHERE r.id = event_setups.run_id
        AND r.status = 'completed') THEN 0 ELSE event_setups.attempts + 1 END
WHERE NOT EXISTS (SELECT FROM runs AS r WHERE r.id = event_setups.run_id
    AND r.status IN ('queued', 'running') AND event_setups.asked_at > now() - interval '1 minute')
RETURNING run_id
"""

_LIVE: LiteralString = """
    AND s.is_wanted AND NOT s.is_paused AND EXISTS (SELECT FROM connections AS c
        JOIN tenants AS t ON t.id = c.tenant_id
        WHERE c.id = s.connection_id AND c.archived_at IS NULL AND c.deactivated_by IS NULL
            AND c.state = 'READY' AND t.archived_at IS NULL)
"""
_DUE = (
    """
SELECT s.id, s.workspace_id, s.tenant_id, s.integration_id, s.connection_id,
    s.requires_full_sync OR s.baseline_at IS NULL AS is_full_scan
FROM external_subscriptions AS s
WHERE s.next_pull_at < now() AND s.status = 'subscribed'
    AND NOT EXISTS (SELECT FROM external_pulls AS p WHERE p.connection_id = s.connection_id
        AND p.status IN ('queued', 'running'))
"""
    + _LIVE
    + """
ORDER BY s.next_pull_at LIMIT %s FOR UPDATE OF s SKIP LOCKED
"""
)
_PULL = """
INSERT INTO external_pulls (id, workspace_id, tenant_id, integration_id, connection_id,
    subscription_id, run_id, is_full_scan)
SELECT pull_id, workspace_id, tenant_id, integration_id, connection_id, id, run_id, is_full_scan
FROM jsonb_to_recordset(%s::jsonb) AS new(pull_id uuid, workspace_id uuid, tenant_id uuid,
    integration_id uuid, connection_id uuid, id uuid, run_id uuid, is_full_scan boolean)
ON CONFLICT (connection_id) WHERE status IN ('queued', 'running') DO NOTHING
RETURNING run_id, subscription_id
"""
# The next one is a little later for some than for others, so that they do not stay together.
_NEXT = """
UPDATE external_subscriptions
SET next_pull_at = now() + coalesce(pull_interval, full_sync_interval)
    * (1 + random() * 0.1) * interval '1 second'
WHERE id = ANY(%s)
"""
_REFRESH = (
    """
SELECT s.id, s.workspace_id, s.tenant_id, s.integration_id, s.connection_id
FROM external_subscriptions AS s WHERE s.next_refresh_at < now()
"""
    + _LIVE
    + """
ORDER BY s.next_refresh_at LIMIT %s FOR UPDATE OF s SKIP LOCKED
"""
)
_LATER = """
UPDATE external_subscriptions SET next_refresh_at = now() + interval '1 hour' WHERE id = ANY(%s)
"""

_RUNS = """
INSERT INTO runs (id, workspace_id, tenant_id, kind, queue, request, integration_id, connection_id)
SELECT id, workspace_id, tenant_id, kind, 'default', request, integration_id, connection_id
FROM jsonb_to_recordset(%s::jsonb) AS new(id uuid, workspace_id uuid, tenant_id uuid, kind text,
    request jsonb, integration_id uuid, connection_id uuid)
RETURNING id, workspace_id, tenant_id, kind, queue, priority, connection_id, element_id,
    0.0::float8 AS delay
"""

_LOST = '{"type": "internal", "message": "The run that saw to it ended before it was done."}'
_GIVE_UP = (
    (
        "UPDATE external_pulls AS p SET status = 'error', ended_at = now(), error = %s::jsonb"
        " WHERE p.status IN ('queued', 'running') AND EXISTS (SELECT FROM runs AS r"
        " WHERE r.id = p.run_id AND r.status IN ('completed', 'failed', 'stopped'))"
    ),
    *(
        f"UPDATE {table} AS e SET status = 'error', finished_at = now(), error = %s::jsonb"  # noqa: S608 - ours
        " WHERE e.status = 'created' AND EXISTS (SELECT FROM runs AS r"
        " WHERE r.id = e.run_id AND r.status IN ('completed', 'failed', 'stopped'))"
        for table in ("events", "incoming_webhooks")
    ),
)
_OLD = "SELECT vesicle.uuid_floor(now() - make_interval(secs => %s)) AS oldest"


async def set_up(database: Database, dispatch: Dispatch, *, recent: bool) -> int:
    """Have connections set up whose triggers changed; return how many.

    `recent` looks only at triggers that changed in the last minutes, which a hundred thousand
    others make hardly slower; all have to be looked at now and then.
    """
    async with database.unscoped("scheduler") as connection:
        found = await _rows(connection, _UNSET, _unset(recent=recent))
        if not found:
            return 0
        for row in found:
            row["run_id"] = uuid_utils.compat.uuid7()
        asked = {row["run_id"] for row in await _rows(connection, _ASK, (_json(found),))}
        new = [
            _run(row, "event-setup", {"do": "reconcile"}) for row in found if row["run_id"] in asked
        ]
        runs = await _rows(connection, _RUNS, (_json(new),))
    await send(database, dispatch, runs)
    return len(runs)


async def pull_due(database: Database, dispatch: Dispatch) -> int:
    """Begin the pulls whose time has come, one for each connection; return how many."""
    async with database.unscoped("scheduler") as connection:
        due = await _rows(connection, _DUE, (_BATCH,))
        if not due:
            return 0
        for row in due:
            row["pull_id"], row["run_id"] = uuid_utils.compat.uuid7(), uuid_utils.compat.uuid7()
        begun = await _rows(connection, _PULL, (_json(due),))
        chosen = {row["run_id"] for row in begun}
        await connection.execute(_NEXT, ([row["subscription_id"] for row in begun],))
        new = [
            _run(row, "event-pull", {"pullId": str(row["pull_id"])})
            for row in due
            if row["run_id"] in chosen
        ]
        runs = await _rows(connection, _RUNS, (_json(new),))
    await send(database, dispatch, runs)
    return len(runs)


async def refresh_due(database: Database, dispatch: Dispatch) -> int:
    """Have webhooks refreshed before apps forget them; return how many."""
    async with database.unscoped("scheduler") as connection:
        due = await _rows(connection, _REFRESH, (_BATCH,))
        if not due:
            return 0
        await connection.execute(_LATER, ([row["id"] for row in due],))
        for row in due:
            row["run_id"] = uuid_utils.compat.uuid7()
        new = [
            _run(row, "event-setup", {"do": "refresh", "subscriptionId": str(row["id"])})
            for row in due
        ]
        runs = await _rows(connection, _RUNS, (_json(new),))
    await send(database, dispatch, runs)
    return len(runs)


async def give_up_lost(database: Database) -> int:
    """End what nobody sees to any more, because its run was stopped or lost its workers."""
    total = 0
    for statement in _GIVE_UP:
        async with database.unscoped("scheduler") as connection:
            cursor = await connection.execute(statement, (_LOST,))
            total += cursor.rowcount
    if total:
        log.warning("events.given_up", count=total)
    return total


async def forget_old_events(database: Database, days: float) -> int:
    """Delete events, webhooks and pulls of more than so many days; return how many."""
    async with database.unscoped("scheduler") as connection:
        (row,) = await _rows(connection, _OLD, (days * 86_400,))
    total = 0
    for table, open_ in (
        ("events", "('created')"),
        ("incoming_webhooks", "('created')"),
        ("external_pulls", "('queued', 'running')"),
    ):
        statement = (
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id < %s"  # noqa: S608 - ours
            f" AND status NOT IN {open_} ORDER BY id LIMIT %s)"
        )
        while True:
            async with database.unscoped("scheduler") as connection:
                cursor = await connection.execute(statement, (row["oldest"], _DELETED))
            total += cursor.rowcount
            if cursor.rowcount < _DELETED:
                break
    return total


def _unset(*, recent: bool) -> dict[str, Any]:
    return {"types": list(TYPES), "recent": recent, "batch": _BATCH}


def _run(row: Mapping[str, Any], kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    names = ("workspace_id", "tenant_id", "integration_id", "connection_id")
    return {
        "id": row["run_id"],
        "kind": kind,
        "request": request,
        **{name: row[name] for name in names},
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps([dict(row) for row in rows], default=str).decode()


async def _rows(
    connection: AsyncConnection[DictRow], query: LiteralString, values: Any
) -> list[DictRow]:
    return await (await connection.execute(query, values)).fetchall()
