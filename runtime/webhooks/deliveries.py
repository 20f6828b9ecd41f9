"""The log of deliveries: read, sent again, tried out. All of it needs the manager's scope."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.errors import NotFoundError
from runtime.moments import uuid_floor
from runtime.pages import page

__all__ = [
    "TEST_EVENT",
    "DeliveryFilter",
    "find_delivery",
    "insert_test",
    "list_deliveries",
    "public_delivery",
    "replay",
    "replay_many",
]

#: What an endpoint gets when it is tried out.
TEST_EVENT = "webhook.test"

_BRIEF = (
    "id, tenant_id, endpoint_id, event, status, due_at, tries, attempts, created_at, delivered_at"
)

# One that is under way goes on, and is not sent beside itself.
_AGAIN = (
    "UPDATE webhook_deliveries SET status = 'pending', due_at = now(), tries = 0,"
    " delivered_at = NULL"
)
_FREE = "(claim IS NULL OR due_at < now())"


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries a list shows; newest first, those older than `before`."""

    endpoint_id: UUID | None = None
    tenant_id: UUID | None = None
    status: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = 100


async def list_deliveries(
    connection: AsyncConnection[DictRow], workspace_id: UUID, wanted: DeliveryFilter
) -> list[DictRow]:
    """Return deliveries without their data, one more than the limit if there are more."""
    tests = {
        "endpoint_id": "endpoint_id = %(endpoint_id)s",
        "tenant_id": "tenant_id = %(tenant_id)s",
        "status": "status = %(status)s",
        "event": "event = %(event)s",
        "since": "id >= %(since)s",
        "until": "id < %(until)s",
        "before": "id < %(before)s",
        "workspace": "workspace_id = %(workspace)s",
    }
    values = {**asdict(wanted), "workspace": workspace_id}
    for name in ("since", "until"):
        if values[name] is not None:
            values[name] = uuid_floor(values[name])
    select = f"SELECT {_BRIEF} FROM webhook_deliveries"  # noqa: S608 - ours
    return await page(connection, select, tests, values, by="id DESC", limit=wanted.limit)


async def find_delivery(
    connection: AsyncConnection[DictRow], workspace_id: UUID, delivery_id: UUID
) -> DictRow:
    """Return a delivery with its data; NotFoundError for another workspace's."""
    cursor = await connection.execute(
        f"SELECT {_BRIEF}, data FROM webhook_deliveries WHERE workspace_id = %s AND id = %s",  # noqa: S608 - ours
        (workspace_id, delivery_id),
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no webhook delivery {delivery_id}.")
    return row


async def replay(
    connection: AsyncConnection[DictRow], workspace_id: UUID, delivery_id: UUID
) -> DictRow:
    """Send a delivery again now, under its own id and with all its attempts before it."""
    await connection.execute(
        f"{_AGAIN} WHERE workspace_id = %s AND id = %s AND {_FREE}", (workspace_id, delivery_id)
    )
    return await find_delivery(connection, workspace_id, delivery_id)


async def replay_many(
    connection: AsyncConnection[DictRow],
    endpoint_id: UUID,
    *,
    since: datetime,
    status: str | None,
    limit: int,
) -> int:
    """Send an endpoint's deliveries since a moment again, the oldest first; return how many."""
    cursor = await connection.execute(
        f"{_AGAIN} WHERE id IN (SELECT id FROM webhook_deliveries"  # noqa: S608 - our own SQL
        " WHERE endpoint_id = %(endpoint)s AND id >= %(since)s"
        " AND (%(status)s::text IS NULL OR status = %(status)s)"
        f" AND {_FREE} ORDER BY id LIMIT %(limit)s)",
        {
            "endpoint": endpoint_id,
            "since": uuid_floor(since),
            "status": status,
            "limit": limit,
        },
    )
    return cursor.rowcount


async def insert_test(connection: AsyncConnection[DictRow], endpoint: DictRow) -> DictRow:
    """Write a delivery that tells of nothing, to see whether it arrives."""
    delivery_id = uuid_utils.compat.uuid7()
    await connection.execute(
        "INSERT INTO webhook_deliveries (id, workspace_id, endpoint_id, event, data)"
        " VALUES (%s, %s, %s, %s, %s::jsonb)",
        (
            delivery_id,
            endpoint["workspace_id"],
            endpoint["id"],
            TEST_EVENT,
            jsontext.dumps({"webhookEndpoint": {"id": endpoint["id"]}}),
        ),
    )
    return await find_delivery(connection, endpoint["workspace_id"], delivery_id)


def public_delivery(row: DictRow) -> dict[str, Any]:
    """Return a delivery as the API shows it; its payload only where it was read."""
    shown = {
        "id": str(row["id"]),
        "webhookEndpointId": str(row["endpoint_id"]),
        "tenantId": str(row["tenant_id"]) if row["tenant_id"] else None,
        "eventType": row["event"],
        "status": row["status"],
        "tries": row["tries"],
        "attempts": row["attempts"],
        "nextAttemptAt": row["due_at"] if row["status"] == "pending" else None,
        "deliveredAt": row["delivered_at"],
        "createdAt": row["created_at"],
    }
    if "data" in row:
        shown["payload"] = {
            "id": shown["id"],
            "eventType": row["event"],
            "timestamp": row["created_at"],
            "data": row["data"],
        }
    return shown
