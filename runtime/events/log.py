"""Keeps events: each is written once, and listed with the runs that it started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.pages import newest_tests, newest_values, page, tests_of
from runtime.tenancy import Owner

__all__ = ["NewEvent", "Place", "find_logged", "keep_events", "list_logged", "public_event"]

_INSERT = """
INSERT INTO events (id, workspace_id, tenant_id, source, subject_id, subscription_id,
    connection_id, integration_id, key, payload, run_id)
SELECT id, %(workspace)s, %(tenant)s, %(source)s, %(subject)s, %(subscription)s,
    %(connection)s, %(integration)s, key, payload, %(run)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS new(id uuid, key text, payload jsonb)
ON CONFLICT (tenant_id, subject_id, key) WHERE key IS NOT NULL DO NOTHING
RETURNING id
"""

# As many as one answer shows; a thousand flows on one event are all in the list of flow runs.
_SELECT = """
SELECT e.*, ARRAY(SELECT l.run_id FROM event_launches AS l WHERE l.event_id = e.id
    ORDER BY l.run_id LIMIT 1000) AS launched
FROM events AS e
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where events come from."""

    source: Literal["app", "external"]
    subject_id: UUID
    subscription_id: UUID | None = None
    connection_id: UUID | None = None
    integration_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be kept; `key` tells it from the others of its place."""

    payload: Any
    key: str | None = None


async def keep_events(
    connection: AsyncConnection[DictRow],
    owner: Owner,
    place: Place,
    events: Sequence[NewEvent],
    run_id: UUID,
) -> list[tuple[UUID, bool]]:
    """Keep events of a tenant for a run to see to; return each one's id and whether it is new.

    One whose key is known already is that earlier event, and is not seen to again.
    """
    ids = [uuid_utils.compat.uuid7() for _ in events]
    rows = [
        {"id": str(each), "key": event.key, "payload": event.payload}
        for each, event in zip(ids, events, strict=True)
    ]
    values = {
        "workspace": owner.workspace_id,
        "tenant": owner.tenant_id,
        "source": place.source,
        "subject": place.subject_id,
        "subscription": place.subscription_id,
        "connection": place.connection_id,
        "integration": place.integration_id,
        "run": run_id,
        "rows": jsontext.dumps(rows),
    }
    cursor = await connection.execute(_INSERT, values)
    kept = {row["id"] for row in await cursor.fetchall()}
    missing = [event.key for each, event in zip(ids, events, strict=True) if each not in kept]
    known: dict[str, UUID] = {}
    if missing:
        cursor = await connection.execute(
            "SELECT id, key FROM events WHERE tenant_id = %s AND subject_id = %s AND key = ANY(%s)",
            (owner.tenant_id, place.subject_id, missing),
        )
        known = {row["key"]: row["id"] for row in await cursor.fetchall()}
    return [
        (each, True) if each in kept else (known.get(event.key or "", each), False)
        for each, event in zip(ids, events, strict=True)
    ]


async def list_logged(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    wanted: Mapping[str, Any],
    *,
    before: UUID | None,
    span: tuple[datetime | None, datetime | None],
    limit: int,
) -> list[DictRow]:
    """Return events, the newest first; `wanted` is columns and what they have to be.

    One more than `limit` if there are more.
    """
    tests = {**tests_of(wanted, "e"), **newest_tests("e")}
    values = {**wanted, **newest_values(workspace_id, before, span)}
    return await page(connection, _SELECT, tests, values, by="e.id DESC", limit=limit)


async def find_logged(
    connection: AsyncConnection[DictRow], source: str, event_id: UUID
) -> DictRow | None:
    """Return an event that this scope sees."""
    cursor = await connection.execute(
        _SELECT + " WHERE e.id = %s AND e.source = %s", (event_id, source)
    )
    return await cursor.fetchone()


def public_event(row: DictRow) -> dict[str, Any]:
    """Return an event as the API shows it."""
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "status": row["status"],
        "error": row["error"],
        "launchedFlowRunIds": [str(each) for each in row["launched"]],
        "createdAt": row["created_at"],
    }
    if row["source"] == "app":
        return shown | {
            "appEventTypeId": str(row["subject_id"]),
            "appEventSubscriptionId": _text(row["subscription_id"]),
            "event": row["payload"],
            "datetime": row["created_at"],
        }
    return shown | {
        "externalEventSubscriptionId": str(row["subject_id"]),
        "connectionId": _text(row["connection_id"]),
        "integrationId": _text(row["integration_id"]),
        "payload": row["payload"],
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
