"""Keeps the endpoints of a workspace. All of it needs the manager's scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.alerts.raising import end_alert
from runtime.credentials.vault import Vault
from runtime.errors import BadRequestError, NotFoundError
from runtime.outbox import EVENTS
from runtime.webhooks.secrets import add_secret
from runtime.webhooks.signing import new_secret

__all__ = [
    "MOST",
    "change_endpoint",
    "delete_endpoint",
    "find_endpoint",
    "insert_endpoint",
    "is_event",
    "list_endpoints",
    "main_endpoint",
    "public_endpoint",
    "put_main",
]

#: Endpoints that one workspace may have.
MOST = 20

_KINDS = sorted({name.partition(".")[0] for name in EVENTS})

_FIND = "SELECT * FROM webhook_endpoints WHERE workspace_id = %s AND id = %s AND deleted_at IS NULL"

_COLUMNS = frozenset({"url", "events", "description", "is_enabled"})


def is_event(name: str) -> bool:
    """Return whether an endpoint can ask for this: an event, `kind.*`, or `*`."""
    return name in EVENTS or name == "*" or name in {f"{kind}.*" for kind in _KINDS}


async def list_endpoints(
    connection: AsyncConnection[DictRow], workspace_id: UUID
) -> Sequence[DictRow]:
    """Return all endpoints of a workspace, the oldest first."""
    cursor = await connection.execute(
        "SELECT * FROM webhook_endpoints WHERE workspace_id = %s AND deleted_at IS NULL"
        " ORDER BY id",
        (workspace_id,),
    )
    return await cursor.fetchall()


async def find_endpoint(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    endpoint_id: UUID,
    *,
    lock: bool = False,
) -> DictRow:
    """Return an endpoint; NotFoundError for another workspace's as for none at all."""
    cursor = await connection.execute(
        f"{_FIND} FOR NO KEY UPDATE" if lock else _FIND, (workspace_id, endpoint_id)
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no webhook endpoint {endpoint_id}.")
    return row


async def insert_endpoint(
    connection: AsyncConnection[DictRow],
    vault: Vault,
    workspace_id: UUID,
    new: Mapping[str, Any],
    *,
    is_main: bool = False,
) -> tuple[DictRow, str]:
    """Write an endpoint with a new secret, and return both.

    `new` has url, events, description and is_enabled.
    """
    # Of two that are made at once, the second counts the first.
    await connection.execute(
        "SELECT FROM workspaces WHERE id = %s FOR NO KEY UPDATE", (workspace_id,)
    )
    if len(await list_endpoints(connection, workspace_id)) >= MOST:
        raise BadRequestError(
            f"A workspace has {MOST} webhook endpoints at most; delete one first.",
            data={"most": MOST},
        )
    endpoint_id, secret = uuid_utils.compat.uuid7(), new_secret()
    cursor = await connection.execute(
        "INSERT INTO webhook_endpoints (id, workspace_id, url, events, description, is_enabled,"
        " is_main) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *",
        (
            endpoint_id,
            workspace_id,
            new["url"],
            new["events"],
            new.get("description"),
            new.get("is_enabled", True),
            is_main,
        ),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it was just written
    await add_secret(connection, vault, workspace_id, endpoint_id, secret)
    return row, secret


async def change_endpoint(
    connection: AsyncConnection[DictRow], row: DictRow, changes: Mapping[str, Any]
) -> DictRow:
    """Set columns of an endpoint, which is locked.

    One that is switched on, or gets another address, is forgiven what it failed at before.
    """
    settings = [f"{name} = %({name})s" for name in changes if name in _COLUMNS]
    forgiven = changes.get("is_enabled") is True or changes.get("url", row["url"]) != row["url"]
    if forgiven:
        settings.append("failures = 0, failing_since = NULL, quiet_until = NULL")
    if changes.get("is_enabled") is True:
        settings.append("disabled_reason = NULL")
    cursor = await connection.execute(
        f"UPDATE webhook_endpoints SET {''.join(each + ', ' for each in settings)}"  # noqa: S608 - ours
        " updated_at = now() WHERE id = %(id)s RETURNING *",
        {**changes, "id": row["id"]},
    )
    changed = await cursor.fetchone()
    assert changed is not None  # noqa: S101 - it is locked
    if changed["is_enabled"]:
        await end_alert(connection, row["workspace_id"], "webhookEndpointDisabled", str(row["id"]))
    return changed


async def delete_endpoint(connection: AsyncConnection[DictRow], row: DictRow) -> None:
    """Delete an endpoint and its secrets; the scheduler takes what is left of it away later."""
    await connection.execute(
        "UPDATE webhook_endpoints SET is_enabled = false, is_main = false, deleted_at = now()"
        " WHERE id = %s",
        (row["id"],),
    )
    await connection.execute("DELETE FROM webhook_secrets WHERE endpoint_id = %s", (row["id"],))
    await end_alert(connection, row["workspace_id"], "webhookEndpointDisabled", str(row["id"]))


async def main_endpoint(connection: AsyncConnection[DictRow], workspace_id: UUID) -> DictRow | None:
    """Return the endpoint that the workspace's `webhookUri` stands for."""
    cursor = await connection.execute(
        "SELECT * FROM webhook_endpoints WHERE workspace_id = %s AND is_main", (workspace_id,)
    )
    return await cursor.fetchone()


async def put_main(
    connection: AsyncConnection[DictRow],
    vault: Vault,
    workspace_id: UUID,
    changes: Mapping[str, Any],
) -> None:
    """Make, change or delete that endpoint: `url` None deletes it, `events` are what it gets.

    The workspace's row is locked by the transaction.
    """
    row = await main_endpoint(connection, workspace_id)
    if "url" in changes and changes["url"] is None:
        if row is not None:
            await delete_endpoint(connection, row)
        return
    if row is not None:
        await change_endpoint(connection, row, changes)
        return
    if "url" not in changes:
        raise BadRequestError(
            "enabledWebhookEvents need a webhookUri.",
            data={"errors": [{"path": "/webhookUri", "message": "is missing"}]},
        )
    new = {"events": ["*"], **changes}
    await insert_endpoint(connection, vault, workspace_id, new, is_main=True)


def public_endpoint(row: DictRow) -> dict[str, Any]:
    """Return an endpoint as the API shows it, without its secret."""
    return {
        "id": str(row["id"]),
        "url": row["url"],
        "events": row["events"],
        "description": row["description"],
        "isEnabled": row["is_enabled"],
        "disabledReason": row["disabled_reason"],
        "isWorkspaceWebhook": row["is_main"],
        "failures": row["failures"],
        "failingSince": row["failing_since"],
        "quietUntil": row["quiet_until"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
