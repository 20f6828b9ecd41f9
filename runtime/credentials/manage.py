"""Writes connections for the tenant that they belong to, or for a manager of its workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from runtime.credentials.store import Subject, save_sealed
from runtime.credentials.vault import Vault
from runtime.errors import (
    AlreadyExistsError,
    AmbiguousConnectionError,
    NotFoundError,
    RevisionConflictError,
)
from runtime.outbox import connections_told
from runtime.pages import page
from runtime.tenancy import Owner, Scope

__all__ = [
    "archive_connection",
    "credentials_of",
    "disconnect_connection",
    "find_connection",
    "insert_connection",
    "list_connections",
    "patch_connection",
    "public_connection",
    "replace_credentials",
    "restore_connection",
    "tenant_credentials_of",
]

_SELECT = (
    "SELECT c.*, e.key AS integration_key, e.spec->>'connectorKey' AS connector_key,"
    " e.spec->>'connectorVersion' AS connector_version,"
    " e.archived_at IS NOT NULL AS integration_archived"
    " FROM connections AS c JOIN elements AS e ON e.id = c.integration_id"
)


def credentials_of(owner: Owner, connection_id: UUID) -> Subject:
    """Return where a connection's credentials are kept."""
    return Subject(owner.workspace_id, owner.tenant_id, connection_id, "credentials")


def tenant_credentials_of(owner: Owner) -> Subject:
    """Return where the credentials are kept by which a product knows its tenant."""
    return Subject(owner.workspace_id, owner.tenant_id, owner.tenant_id, "tenant-credentials")


async def insert_connection(
    database: AsyncConnection[DictRow],
    vault: Vault,
    owner: Owner,
    new: dict[str, Any],
    credentials: dict[str, Any],
) -> UUID:
    """Write a connection and its sealed credentials; AlreadyExistsError if its key is taken."""
    connection_id = uuid_utils.compat.uuid7()
    try:
        await database.execute(
            "INSERT INTO connections (id, workspace_id, tenant_id, integration_id, key, name,"
            " parameters, meta, state) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'READY')",
            (
                connection_id,
                owner.workspace_id,
                owner.tenant_id,
                new["integration_id"],
                new["key"],
                new["name"],
                Jsonb(new["parameters"]),
                Jsonb(new["meta"]),
            ),
        )
    except psycopg.errors.UniqueViolation:
        raise AlreadyExistsError(
            f"This tenant has a connection with the key {new['key']!r} already.",
            data={"path": "/key"},
        ) from None
    await save_sealed(database, vault, credentials_of(owner, connection_id), credentials)
    return connection_id


async def find_connection(
    database: AsyncConnection[DictRow], scope: Scope, selector: str, *, archived: bool = False
) -> DictRow:
    """Return a connection by id or key; NotFoundError for another tenant's as for none at all.

    To a manager one key may name connections of several tenants: AmbiguousConnectionError.
    """
    conditions = [
        "c.workspace_id = %(workspace)s",
        "(c.id::text = %(selector)s OR c.key = %(selector)s)",
    ]
    values: dict[str, Any] = {"workspace": scope.workspace_id, "selector": selector}
    if scope.tenant_id is not None:
        conditions.append("c.tenant_id = %(tenant)s")
        values["tenant"] = scope.tenant_id
    if not archived:
        conditions.append("c.archived_at IS NULL")
    cursor = await database.execute(
        f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY c.archived_at DESC NULLS FIRST",
        values,
    )
    rows = await cursor.fetchall()
    found = [row for row in rows if str(row["id"]) == selector] or _nearest(rows)
    if len(found) > 1:
        raise AmbiguousConnectionError(
            f"Several tenants have a connection {selector[:100]!r}; name one by its id.",
            data={"choices": [_choice(row) for row in found[:20]]},
        )
    for row in found:
        return row
    raise NotFoundError(f"There is no connection {selector[:100]!r}.")


def _nearest(rows: Sequence[DictRow]) -> Sequence[DictRow]:
    """Return those of one key that are meant: the live ones, else the one archived last."""
    return [row for row in rows if row["archived_at"] is None] or rows[:1]


def _choice(row: DictRow) -> dict[str, str]:
    return {name: str(row[name]) for name in ("id", "key", "name", "tenant_id")}


async def list_connections(
    database: AsyncConnection[DictRow], scope: Scope, wanted: dict[str, Any]
) -> list[DictRow]:
    """Return connections by id, one more than `wanted["limit"]` if there are more.

    `wanted` holds tenant_id, integration_id, integration_key, connector_key, external_app,
    connected, search, archived and after; what is None does not narrow.
    """
    tests = {
        "workspace": "c.workspace_id = %(workspace)s",
        "tenant_id": "c.tenant_id = %(tenant_id)s",
        "integration_id": "c.integration_id = %(integration_id)s",
        "integration_key": "e.key = %(integration_key)s",
        "connector_key": "e.spec->>'connectorKey' = %(connector_key)s",
        "external_app": (
            "EXISTS (SELECT FROM elements AS k JOIN elements AS x ON x.kind = 'external-app'"
            " AND x.key = coalesce(k.spec->>'externalApp', k.key) WHERE k.kind = 'connector'"
            " AND k.key = e.spec->>'connectorKey' AND %(external_app)s IN (x.id::text, x.key))"
        ),
        "connected": "(c.state = 'READY' AND c.deactivated_by IS NULL) = %(connected)s",
        "search": "position(lower(%(search)s) IN lower(c.name)) > 0",
        "after": "c.id > %(after)s",
    }
    if not wanted.get("archived"):
        tests["workspace"] += " AND c.archived_at IS NULL"
    values = {**wanted, "workspace": scope.workspace_id}
    values["tenant_id"] = scope.tenant_id or wanted.get("tenant_id")
    return await page(database, _SELECT, tests, values, by="c.id", limit=wanted["limit"])


async def patch_connection(
    database: AsyncConnection[DictRow],
    connection_id: UUID,
    changes: dict[str, Any],
    *,
    revision: int | None = None,
) -> None:
    """Set columns of a connection; RevisionConflictError if it is no longer at `revision`."""
    allowed = {"name", "key", "meta", "parameters"}
    settings = [f"{name} = %({name})s" for name in changes if name in allowed]
    values = {
        name: Jsonb(value) if name in ("meta", "parameters") else value
        for name, value in changes.items()
    }
    try:
        cursor = await database.execute(
            f"UPDATE connections SET {''.join(each + ', ' for each in settings)}"  # noqa: S608 - ours
            " revision = revision + 1, updated_at = now() WHERE id = %(id)s"
            " AND (%(revision)s::int IS NULL OR revision = %(revision)s)",
            {**values, "id": connection_id, "revision": revision},
        )
    except psycopg.errors.UniqueViolation:
        raise AlreadyExistsError(
            f"This tenant has a connection with the key {changes['key']!r} already.",
            data={"path": "/key"},
        ) from None
    if not cursor.rowcount:
        raise RevisionConflictError


async def replace_credentials(
    database: AsyncConnection[DictRow],
    vault: Vault,
    owner: Owner,
    connection_id: UUID,
    credentials: dict[str, Any],
) -> None:
    """Seal new credentials in place of the old; what was learned about the old ones is dropped."""
    await save_sealed(database, vault, credentials_of(owner, connection_id), credentials)
    cursor = await database.execute(
        "WITH before AS (SELECT id, state FROM connections WHERE id = %s FOR UPDATE)"
        " UPDATE connections AS c SET state = 'READY', error = NULL, expires_at = NULL,"
        " refreshing_until = NULL FROM before WHERE c.id = before.id RETURNING before.state",
        (connection_id,),
    )
    states = [row["state"] for row in await cursor.fetchall()]
    if states != ["READY"]:
        await connections_told(database, "reconnected", [connection_id])


async def disconnect_connection(
    database: AsyncConnection[DictRow], vault: Vault, owner: Owner, connection_id: UUID
) -> None:
    """Seal nothing in place of a connection's credentials; its user has to connect it again."""
    await save_sealed(database, vault, credentials_of(owner, connection_id), {})
    await database.execute(
        "UPDATE connections SET state = 'CLIENT_ACTION_REQUIRED', error = NULL, expires_at = NULL,"
        " refreshing_until = NULL, revision = revision + 1, updated_at = now() WHERE id = %s",
        (connection_id,),
    )


async def archive_connection(database: AsyncConnection[DictRow], connection_id: UUID) -> None:
    """Archive a connection; queued runs over it end as stopped when a worker claims them."""
    cursor = await database.execute(
        "UPDATE connections SET archived_at = now(), updated_at = now(), revision = revision + 1"
        " WHERE id = %s AND archived_at IS NULL",
        (connection_id,),
    )
    if cursor.rowcount:
        await connections_told(database, "deleted", [connection_id])


async def restore_connection(database: AsyncConnection[DictRow], connection_id: UUID) -> None:
    """Undo the archiving of a connection; AlreadyExistsError if its key was taken since."""
    try:
        cursor = await database.execute(
            "UPDATE connections SET archived_at = NULL, updated_at = now(),"
            " revision = revision + 1 WHERE id = %s AND archived_at IS NOT NULL",
            (connection_id,),
        )
    except psycopg.errors.UniqueViolation:
        raise AlreadyExistsError("Another connection has taken this key meanwhile.") from None
    if cursor.rowcount:
        await connections_told(database, "reconnected", [connection_id])


def public_connection(row: DictRow) -> dict[str, Any]:
    """Return a connection as the API shows it, without any secret."""
    active = row["deactivated_by"] is None and row["archived_at"] is None
    connected = row["state"] == "READY" and active and not row["integration_archived"]
    shown = {
        "id": str(row["id"]),
        "key": row["key"],
        "name": row["name"],
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "integrationId": str(row["integration_id"]),
        "integrationKey": row["integration_key"],
        "connectorKey": row["connector_key"],
        "connectorVersion": row["connector_version"],
        "parameters": row["parameters"],
        "meta": row["meta"],
        "state": row["state"],
        "connected": connected,
        "disconnected": not connected,
        "isDeactivated": not active,
        "error": row["error"],
        "lastTestedAt": row["tested_at"],
        "nextCredentialsRefreshAt": row["expires_at"],
        "revision": row["revision"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "archivedAt": row["archived_at"],
    }
    if row["state"] == "CLIENT_ACTION_REQUIRED":
        shown["clientAction"] = {
            "type": "connect",
            "description": "The app needs new credentials: it refuses the last ones, or has none.",
        }
    return shown
