"""Reads and writes tenants, for a manager of their workspace or for a tenant about itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.errors import AlreadyExistsError, BadRequestError, NotFoundError
from runtime.pages import page
from runtime.tenants.claims import is_key

__all__ = [
    "TenantFilter",
    "TenantSelector",
    "find_tenant",
    "insert_tenant",
    "list_tenants",
    "public_tenant",
    "update_tenant",
]

# A tenant's own limit of AI credits in any 30 days is a field of the tenant on the wire.
_SELECT = """
SELECT t.id, t.key, t.name, t.fields, t.meta, t.is_test, t.created_at, t.updated_at,
    t.last_active_at, t.archived_at, l.id IS NOT NULL AS has_ai_limit, l.amount AS ai_limit
FROM tenants AS t LEFT JOIN limits AS l
    ON l.workspace_id = t.workspace_id AND l.tenant_id = t.id AND l.resource = 'ai-credits'
    AND l.scope = 'tenant' AND l.subject_id IS NULL AND l.window_seconds = 2592000
    AND l.archived_at IS NULL
"""

#: Columns that `update_tenant` may set, and how each is written.
_COLUMNS = {
    "key": "%(key)s",
    "name": "%(name)s",
    "is_test": "%(is_test)s",
    "fields": "%(fields)s::jsonb",
    "meta": "%(meta)s::jsonb",
}


@dataclass(frozen=True, slots=True)
class TenantSelector:
    """How a caller names a tenant; everything that is given has to fit."""

    id_or_key: str | None = None
    id: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        """Return the name as the caller wrote it, shortened."""
        return repr((self.id_or_key or self.id or self.key or "")[:100])


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants a list shows, by id, those after `after`."""

    search: str | None = None
    is_test: bool | None = None
    #: Whether the tenant is not archived.
    is_active: bool | None = None
    include_archived: bool = False
    after: UUID | None = None
    limit: int = 100


async def find_tenant(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    selector: TenantSelector,
    *,
    lock: bool = False,
) -> DictRow:
    """Return a tenant, archived ones too; NotFoundError for one that this scope does not see.

    `lock` keeps other writers of the row away until the transaction ends. It is the lock that lets
    foreign keys be checked: runs of the tenant go on.
    """
    conditions, values = _conditions(selector)
    cursor = await connection.execute(
        f"{_SELECT} WHERE {' AND '.join(conditions)}"
        f" ORDER BY t.id = %(as_id)s DESC LIMIT 1{' FOR NO KEY UPDATE OF t' if lock else ''}",
        {"workspace": workspace_id, "as_id": None, **values},
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no tenant {selector}.")
    return row


def _conditions(selector: TenantSelector) -> tuple[list[str], dict[str, Any]]:
    conditions = ["t.workspace_id = %(workspace)s"]
    values: dict[str, Any] = {}
    texts = (selector.id_or_key, selector.id, selector.key)
    if not any(texts):
        raise BadRequestError(
            "Name the tenant by its id or key.",
            data={"errors": [{"path": "/id", "message": "is missing"}]},
        )
    if not all(is_key(text) for text in texts if text):
        raise NotFoundError(f"There is no tenant {selector}.")
    if selector.id_or_key:
        values |= {"as_id": _as_id(selector.id_or_key), "as_key": selector.id_or_key}
        conditions.append("(t.key = %(as_key)s OR t.id = %(as_id)s)")
    if selector.id:
        values["id"] = _as_id(selector.id)
        conditions.append("t.id = %(id)s")
    if selector.key:
        values["key"] = selector.key
        conditions.append("t.key = %(key)s")
    return conditions, values


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def list_tenants(
    connection: AsyncConnection[DictRow], workspace_id: UUID, wanted: TenantFilter
) -> list[DictRow]:
    """Return tenants by id, one more than the limit if there are more."""
    tests = {
        "workspace": "t.workspace_id = %(workspace)s",
        "search": (
            "(position(lower(%(search)s) IN lower(t.name)) > 0"
            " OR position(lower(%(search)s) IN lower(t.key)) > 0)"
        ),
        "is_test": "t.is_test = %(is_test)s",
        "is_active": "(t.archived_at IS NULL) = %(is_active)s",
        "after": "t.id > %(after)s",
    }
    if wanted.is_active is None and not wanted.include_archived:
        tests["workspace"] += " AND t.archived_at IS NULL"
    values = {**asdict(wanted), "workspace": workspace_id}
    return await page(connection, _SELECT, tests, values, by="t.id", limit=wanted.limit)


async def insert_tenant(
    connection: AsyncConnection[DictRow], workspace_id: UUID, new: dict[str, Any]
) -> UUID:
    """Write a tenant with a key, name, fields, meta and is_test; AlreadyExistsError if taken."""
    tenant_id = uuid_utils.compat.uuid7()
    try:
        await connection.execute(
            "INSERT INTO tenants (id, workspace_id, key, name, fields, meta, is_test)"
            " VALUES (%(id)s, %(workspace)s, %(key)s, %(name)s, %(fields)s::jsonb,"
            " %(meta)s::jsonb, %(is_test)s)",
            {**_written(new), "id": tenant_id, "workspace": workspace_id},
        )
    except psycopg.errors.UniqueViolation:
        raise _taken(new["key"]) from None
    return tenant_id


async def update_tenant(
    connection: AsyncConnection[DictRow], tenant_id: UUID, changes: dict[str, Any]
) -> None:
    """Set columns of a tenant. AlreadyExistsError if its new key is taken.

    A new name or new fields count from now on: tokens that were issued before do not undo them.
    """
    settings = [f"{name} = {_COLUMNS[name]}" for name in changes]
    if "name" in changes or "fields" in changes:
        settings.append("profile_at = now()")
    try:
        await connection.execute(
            f"UPDATE tenants SET {', '.join(settings)}, updated_at = now(),"  # noqa: S608 - our own columns
            " revision = revision + 1 WHERE id = %(id)s",
            {**_written(changes), "id": tenant_id},
        )
    except psycopg.errors.UniqueViolation:
        raise _taken(changes["key"]) from None


def _written(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: jsontext.dumps(value) if name in ("fields", "meta") else value
        for name, value in values.items()
    }


def _taken(key: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"There is a tenant with the internalId {key[:100]!r} already; it may be archived.",
        data={"path": "/internalId"},
    )


def public_tenant(row: DictRow, workspace_key: str) -> dict[str, Any]:
    """Return a tenant as the API shows it; never its credentials."""
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "name": row["name"],
        "internalId": row["key"],
        "fields": row["fields"],
        "meta": row["meta"],
        "isTest": row["is_test"],
        "isActive": row["archived_at"] is None,
        "lastActiveAt": row["last_active_at"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "workspaceKey": workspace_key,
    }
    if row["has_ai_limit"]:
        limit = row["ai_limit"]
        shown["aiCreditsRolling30DayLimit"] = None if limit is None else float(limit)
    if row["archived_at"] is not None:
        shown["archivedAt"] = row["archived_at"]
    return shown
