"""Keeps what apps posted, and lists it with the events that were made of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.events.post import Door
from runtime.pages import newest_tests, newest_values, page, tests_of
from runtime.runs.states import NewRun

__all__ = [
    "find_pull",
    "find_webhook",
    "keep_webhook",
    "list_rows",
    "public_pull",
    "public_webhook",
    "webhook_run",
]

_INSERT = """
INSERT INTO incoming_webhooks (id, workspace_id, tenant_id, integration_id, connection_id,
    subscription_id, run_id, request, status, error)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s::jsonb)
"""

# The events that were made of a post or a pull: those that its run saw to.
_EVENTS = """
ARRAY(SELECT e.id FROM events AS e WHERE e.subject_id = r.subscription_id AND e.run_id = r.run_id
    ORDER BY e.id LIMIT 1000) AS event_ids
"""
_TABLES = {
    "incoming_webhooks": (
        "r.id, r.tenant_id, r.integration_id, r.connection_id, r.subscription_id, r.status,"
        " r.error, r.created_at, r.finished_at"
    ),
    "external_pulls": "r.*",
}


def webhook_run(door: Door, webhook_id: UUID) -> NewRun:
    """Return the run that makes events of a post."""
    return NewRun(
        id=uuid_utils.compat.uuid7(),
        kind="event-webhook",
        queue="default",
        request={"webhookId": str(webhook_id)},
        input=None,
        integration_id=door.integration_id,
        connection_id=door.connection_id,
    )


async def keep_webhook(
    connection: AsyncConnection[DictRow],
    door: Door,
    webhook_id: UUID,
    *,
    run_id: UUID | None = None,
    request: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """Keep a post; with an error, one that was refused, of which nothing is kept."""
    await connection.execute(
        _INSERT,
        (
            webhook_id,
            *(door.owner.workspace_id, door.owner.tenant_id),
            *(door.integration_id, door.connection_id, door.subscription_id, run_id),
            jsontext.dumps(request) if request is not None else None,
            "error" if error else "created",
            jsontext.dumps(error) if error else None,
        ),
    )


async def list_rows(
    connection: AsyncConnection[DictRow],
    table: str,
    workspace_id: UUID,
    wanted: Mapping[str, Any],
    *,
    before: UUID | None,
    span: tuple[datetime | None, datetime | None],
    limit: int,
) -> list[DictRow]:
    """Return posts or pulls, the newest first; one more than `limit` if there are more."""
    tests = {**tests_of(wanted, "r"), **newest_tests("r")}
    values = {**wanted, **newest_values(workspace_id, before, span)}
    select = f"SELECT {_TABLES[table]}, {_EVENTS} FROM {table} AS r"  # noqa: S608 - ours
    return await page(connection, select, tests, values, by="r.id DESC", limit=limit)


async def find_webhook(connection: AsyncConnection[DictRow], webhook_id: UUID) -> DictRow | None:
    """Return a post that this scope sees, with what was posted."""
    cursor = await connection.execute(
        f"SELECT r.*, {_EVENTS} FROM incoming_webhooks AS r WHERE r.id = %s",  # noqa: S608 - ours
        (webhook_id,),
    )
    return await cursor.fetchone()


async def find_pull(connection: AsyncConnection[DictRow], pull_id: UUID) -> DictRow | None:
    """Return a pull that this scope sees."""
    cursor = await connection.execute(
        f"SELECT r.*, {_EVENTS} FROM external_pulls AS r WHERE r.id = %s",  # noqa: S608 - ours
        (pull_id,),
    )
    return await cursor.fetchone()


def public_webhook(row: DictRow) -> dict[str, Any]:
    """Return a post as the API shows it."""
    return {
        **_common(row),
        "uuid": str(row["id"]),
        "createdAt": row["created_at"],
        "finishedAt": row["finished_at"],
    }


def public_pull(row: DictRow) -> dict[str, Any]:
    """Return a pull as the API shows it."""
    return {
        **_common(row),
        "externalEventSubscriptionId": str(row["subscription_id"]),
        "isFullScan": row["is_full_scan"],
        "runId": str(row["run_id"]),
        "records": row["records"],
        "events": row["events"],
        "startDatetime": row["started_at"],
        "endDatetime": row["ended_at"],
        "createdAt": row["created_at"],
    }


def _common(row: DictRow) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "integrationId": str(row["integration_id"]),
        "connectionId": str(row["connection_id"]),
        "subscriptionId": str(row["subscription_id"]),
        "status": row["status"],
        "error": row["error"],
        "collectedEventIds": [str(each) for each in row["event_ids"]],
    }
