"""External event subscriptions as rows: found, listed, written, shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.actions.connected import Connected
from runtime.credentials.store import Subject
from runtime.errors import NotFoundError
from runtime.events.wishes import Wish
from runtime.pages import page, tests_of

__all__ = [
    "find_subscription",
    "list_subscriptions",
    "note_error",
    "note_subscribed",
    "note_unsubscribed",
    "public_subscription",
    "secret_subject",
    "upsert",
]

# A subscription is of no use while its connection or tenant is archived, or nobody wants it.
_SELECT = """
SELECT s.*, c.archived_at IS NOT NULL OR c.deactivated_by IS NOT NULL OR NOT s.is_wanted
    AS is_deactivated
FROM external_subscriptions AS s
JOIN connections AS c ON c.id = s.connection_id AND c.tenant_id = s.tenant_id
"""

_UPSERT = """
INSERT INTO external_subscriptions (id, workspace_id, tenant_id, integration_id, connection_id,
    config, config_hash, is_real_time, requires_pull, requires_full_sync, pull_interval,
    full_sync_interval)
VALUES (%(id)s, %(workspace)s, %(tenant)s, %(integration)s, %(connection)s, %(config)s::json,
    %(hash)s, %(real_time)s, %(pull)s::int IS NOT NULL, %(full)s::int IS NOT NULL, %(pull)s,
    %(full)s)
ON CONFLICT (connection_id, config_hash) DO UPDATE SET is_wanted = true,
    is_real_time = excluded.is_real_time, requires_pull = excluded.requires_pull,
    requires_full_sync = excluded.requires_full_sync, pull_interval = excluded.pull_interval,
    full_sync_interval = excluded.full_sync_interval, updated_at = now()
RETURNING id
"""

# The first look is soon, and not at the same moment for all who were set up at once.
_SUBSCRIBED = """
UPDATE external_subscriptions SET status = 'subscribed', error = NULL, failures = 0,
    state = %(state)s::jsonb, updated_at = now(),
    next_pull_at = CASE WHEN requires_pull OR requires_full_sync
        THEN coalesce(next_pull_at, now() + random() * interval '2 seconds') END,
    next_refresh_at = now() + make_interval(secs => %(refresh)s::int)
WHERE id = %(id)s
"""
_UNSUBSCRIBED = """
UPDATE external_subscriptions SET status = 'unsubscribed', error = NULL, state = '{}',
    next_pull_at = NULL, next_refresh_at = NULL, baseline_at = NULL, changed_until = NULL,
    updated_at = now()
WHERE id = %s
"""
_ERROR = """
UPDATE external_subscriptions SET status = 'error', error = %s::jsonb, updated_at = now(),
    failures = failures + 1, next_refresh_at = now()
        + least(interval '1 minute' * power(2, least(failures, 10)), interval '1 day')
WHERE id = %s
"""


async def upsert(connection: AsyncConnection[DictRow], connected: Connected, wish: Wish) -> UUID:
    """Return the subscription that a wish amounts to, which is made or wanted again."""
    values = {
        "id": uuid_utils.compat.uuid7(),
        "workspace": connected.owner.workspace_id,
        "tenant": connected.owner.tenant_id,
        "integration": connected.integration_id,
        "connection": connected.id,
        "config": jsontext.dumps(wish.config),
        "hash": wish.hash,
        "real_time": wish.is_real_time,
        "pull": wish.pull_interval,
        "full": wish.full_sync_interval,
    }
    row = await (await connection.execute(_UPSERT, values)).fetchone()
    assert row is not None  # noqa: S101 - it was inserted or updated
    return UUID(str(row["id"]))


async def note_subscribed(
    connection: AsyncConnection[DictRow],
    subscription_id: UUID,
    state: Mapping[str, Any],
    refresh: int | None,
) -> None:
    """Note that the app tells, or that it is looked at from now on."""
    values = {"id": subscription_id, "state": jsontext.dumps(state), "refresh": refresh}
    await connection.execute(_SUBSCRIBED, values)


async def note_unsubscribed(connection: AsyncConnection[DictRow], subscription_id: UUID) -> None:
    """Note that nothing is heard any more, and forget what records were like.

    Whoever subscribes again hears of what changes from then on.
    """
    await connection.execute(_UNSUBSCRIBED, (subscription_id,))
    await connection.execute(
        "DELETE FROM event_records WHERE subscription_id = %s", (subscription_id,)
    )


async def note_error(
    connection: AsyncConnection[DictRow], subscription_id: UUID, error: Mapping[str, Any]
) -> None:
    """Note why the app could not be subscribed to; it is tried again, less and less often."""
    await connection.execute(_ERROR, (jsontext.dumps(error), subscription_id))


async def find_subscription(connection: AsyncConnection[DictRow], subscription_id: UUID) -> DictRow:
    """Return a subscription; NotFoundError for one that this scope does not see."""
    cursor = await connection.execute(_SELECT + " WHERE s.id = %s", (subscription_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no external event subscription {subscription_id}.")
    return row


async def list_subscriptions(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    wanted: Mapping[str, Any],
    *,
    after: UUID | None,
    limit: int,
) -> list[DictRow]:
    """Return subscriptions by id, one more than `limit` if there are more."""
    tests = {
        **tests_of(wanted, "s"),
        "workspace": "s.workspace_id = %(workspace)s",
        "after": "s.id > %(after)s",
    }
    values = {**wanted, "workspace": workspace_id, "after": after}
    return await page(connection, _SELECT, tests, values, by="s.id", limit=limit)


def secret_subject(workspace_id: UUID, tenant_id: UUID, subscription_id: UUID) -> Subject:
    """Return where the secret is kept with which the app signs."""
    return Subject(workspace_id, tenant_id, subscription_id, "webhook-secret")


def public_subscription(row: DictRow, webhook_uri: str | None) -> dict[str, Any]:
    """Return a subscription as the API shows it."""
    return {
        "id": str(row["id"]),
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "integrationId": str(row["integration_id"]),
        "connectionId": str(row["connection_id"]),
        "config": row["config"],
        "status": row["status"],
        "error": row["error"],
        "isRealTime": row["is_real_time"],
        "requiresPull": row["requires_pull"],
        "requiresFullSync": row["requires_full_sync"],
        "nextPullEventsTimestamp": row["next_pull_at"],
        "nextRefreshTimestamp": row["next_refresh_at"],
        "webhookUri": webhook_uri,
        "stateData": row["state"],
        "baselineAt": row["baseline_at"],
        "isDeactivated": row["is_deactivated"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
