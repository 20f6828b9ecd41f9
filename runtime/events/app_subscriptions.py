"""A tenant's own addresses for types of app events, and telling the product of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.errors import AlreadyExistsError, NotFoundError
from runtime.events.app_types import AppEventType
from runtime.pages import page, tests_of
from runtime.tenancy import Owner

__all__ = [
    "archive_subscription",
    "ensure_subscription",
    "find_subscription",
    "list_subscriptions",
    "note_subscribed",
    "public_subscription",
    "restore_subscription",
    "subscribe_action",
]

#: What of an answer is kept.
_LARGEST = 20_000


async def ensure_subscription(
    connection: AsyncConnection[DictRow],
    owner: Owner,
    kind: AppEventType,
    instance_key: str | None,
) -> UUID:
    """Return the tenant's subscription to a type, which is made if there is none."""
    cursor = await connection.execute(
        "INSERT INTO app_event_subscriptions"
        " (id, workspace_id, tenant_id, type_id, type_key, instance_key)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id",
        (
            uuid_utils.compat.uuid7(),
            *(owner.workspace_id, owner.tenant_id),
            *(kind.id, kind.key, instance_key),
        ),
    )
    made = await cursor.fetchone()
    if made is not None:
        return UUID(str(made["id"]))
    cursor = await connection.execute(
        "SELECT id FROM app_event_subscriptions WHERE tenant_id = %s AND type_id = %s"
        " AND instance_key IS NOT DISTINCT FROM %s AND archived_at IS NULL",
        (owner.tenant_id, kind.id, instance_key),
    )
    row = await cursor.fetchone()
    if row is None:  # archived at this very moment
        raise NotFoundError("The subscription was archived.")
    return UUID(str(row["id"]))


async def find_subscription(connection: AsyncConnection[DictRow], subscription_id: UUID) -> DictRow:
    """Return a subscription, archived ones too; NotFoundError for one not of this scope."""
    cursor = await connection.execute(
        "SELECT * FROM app_event_subscriptions WHERE id = %s", (subscription_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no app event subscription {subscription_id}.")
    return row


async def list_subscriptions(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    wanted: Mapping[str, Any],
    *,
    after: UUID | None,
    limit: int,
) -> list[DictRow]:
    """Return live subscriptions by id, one more than `limit` if there are more."""
    tests = {
        **tests_of(wanted, "s"),
        "workspace": "s.workspace_id = %(workspace)s AND s.archived_at IS NULL",
        "after": "s.id > %(after)s",
    }
    values = {**wanted, "workspace": workspace_id, "after": after}
    select = "SELECT * FROM app_event_subscriptions AS s"
    return await page(connection, select, tests, values, by="s.id", limit=limit)


async def archive_subscription(connection: AsyncConnection[DictRow], subscription_id: UUID) -> None:
    """Close a subscription's address for good; subscribing again makes another one."""
    await connection.execute(
        "UPDATE app_event_subscriptions SET archived_at = now(), updated_at = now(),"
        " is_subscribed = false WHERE id = %s AND archived_at IS NULL",
        (subscription_id,),
    )
    await connection.execute(
        "UPDATE webhook_keys SET expires_at = now() WHERE subject_id = %s", (subscription_id,)
    )


async def restore_subscription(connection: AsyncConnection[DictRow], subscription_id: UUID) -> None:
    """Undo the archiving of a subscription, at another address.

    Raises AlreadyExistsError if there is another one in its place.
    """
    try:
        await connection.execute(
            "UPDATE app_event_subscriptions SET archived_at = NULL, updated_at = now()"
            " WHERE id = %s AND archived_at IS NOT NULL",
            (subscription_id,),
        )
    except psycopg.errors.UniqueViolation:
        raise AlreadyExistsError("There is another subscription in its place by now.") from None


def subscribe_action(kind: AppEventType) -> dict[str, Any] | None:
    """Return the action that tells the product where to post, None if it wants no telling.

    A `uri` that is a path is one of the product's own API. The address is a secret.
    """
    request = kind.spec.subscribe_request
    if request is None:
        return None
    is_path = isinstance(request.uri, str) and request.uri.startswith("/")
    address = {"type": "string", "isSensitive": True}
    return {
        "type": "api-request-to-your-app" if is_path else "http-request",
        "inputSchema": {"type": "object", "properties": {"webhookUri": address}},
        "safeToRepeat": True,
        "config": {"request": request.model_dump(exclude_none=True)},
    }


async def note_subscribed(
    connection: AsyncConnection[DictRow],
    subscription_id: UUID,
    request: Mapping[str, Any] | None,
    response: Any,
) -> None:
    """Note that the product was told, and what it said."""
    said = jsontext.dumps(response)
    await connection.execute(
        "UPDATE app_event_subscriptions SET is_subscribed = true, updated_at = now(),"
        " request = %s::jsonb, response = %s::jsonb WHERE id = %s",
        (
            jsontext.dumps(request) if request else None,
            said if response is not None and len(said) <= _LARGEST else None,
            subscription_id,
        ),
    )


def public_subscription(row: DictRow, webhook_uri: str | None) -> dict[str, Any]:
    """Return a subscription as the API shows it."""
    return {
        "id": str(row["id"]),
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "appEventTypeId": str(row["type_id"]),
        "appEventTypeKey": row["type_key"],
        "instanceKey": row["instance_key"],
        "isSubscribed": row["is_subscribed"],
        "webhookUri": webhook_uri,
        "subscriptionRequest": row["request"],
        "subscriptionResponse": row["response"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "archivedAt": row["archived_at"],
    }
