"""Writes and lists caps. Where a cap stands never changes, only its amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import AlreadyExistsError, NotFoundError
from runtime.pages import page
from runtime.tenancy import Scope

__all__ = [
    "SUBJECT_NAMES",
    "CapFilter",
    "CapPlace",
    "CapScope",
    "CapState",
    "delete_cap",
    "find_cap",
    "insert_cap",
    "list_caps",
    "public_cap",
    "put_cap",
    "set_cap",
]

CapState = Literal["running", "queued"]
CapScope = Literal["workspace", "tenant", "connection", "flows", "element"]

#: Scope -> how the API names its subject's id. Flow runs are counted for each connection.
SUBJECT_NAMES = {"connection": "connectionId", "flows": "connectionId", "element": "elementId"}

_SELECT = (
    "SELECT c.*, t.key AS tenant_key FROM caps AS c LEFT JOIN tenants AS t ON t.id = c.tenant_id"
)
_INSERT = (
    "INSERT INTO caps (id, workspace_id, state, scope, tenant_id, subject_id, amount) VALUES"
    " (%(id)s, %(workspace)s, %(state)s, %(scope)s, %(tenant_id)s, %(subject_id)s, %(amount)s)"
)


@dataclass(frozen=True, slots=True)
class CapPlace:
    """What a cap is about: one subject, or each of its scope if none is named."""

    state: CapState
    scope: CapScope
    #: The tenant, or the one whose connection or element it is.
    tenant_id: UUID | None = None
    #: The connection or element.
    subject_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CapFilter:
    """Which caps a list shows, by id, those after `after`."""

    state: str | None = None
    scope: str | None = None
    tenant_id: UUID | None = None
    subject_id: UUID | None = None
    after: UUID | None = None
    limit: int = 100


async def find_cap(
    connection: AsyncConnection[DictRow], scope: Scope, cap_id: UUID, *, lock: bool = False
) -> DictRow:
    """Return a cap; NotFoundError for one that this scope does not see."""
    cursor = await connection.execute(
        f"{_SELECT} WHERE c.workspace_id = %(workspace)s AND c.id = %(id)s"
        " AND (%(tenant)s::uuid IS NULL OR c.tenant_id IS NULL OR c.tenant_id = %(tenant)s)"
        f"{' FOR UPDATE OF c' if lock else ''}",
        {"workspace": scope.workspace_id, "tenant": scope.tenant_id, "id": cap_id},
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no cap {cap_id}.")
    return row


async def list_caps(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: CapFilter
) -> Sequence[DictRow]:
    """Return caps by id, one more than the limit if there are more.

    A tenant gets the workspace's and its own, without the default that its own stands in for.
    """
    tests = {
        "state": "c.state = %(state)s",
        "scope": "c.scope = %(scope)s",
        "tenant_id": "c.tenant_id = %(tenant_id)s",
        "subject_id": "c.subject_id = %(subject_id)s",
        "after": "c.id > %(after)s",
        "workspace": "c.workspace_id = %(workspace)s",
        "tenant": (
            "(c.tenant_id = %(tenant)s OR (c.tenant_id IS NULL AND NOT (c.scope = 'tenant' AND"
            " EXISTS (SELECT FROM caps AS o WHERE o.workspace_id = c.workspace_id"
            " AND (o.state, o.scope, o.tenant_id) = (c.state, c.scope, %(tenant)s)))))"
        ),
    }
    values = {**asdict(wanted), "workspace": scope.workspace_id, "tenant": scope.tenant_id}
    if scope.tenant_id is not None:
        values["tenant_id"] = None
    return await page(connection, _SELECT, tests, values, by="c.id", limit=wanted.limit)


async def insert_cap(
    connection: AsyncConnection[DictRow], workspace_id: UUID, place: CapPlace, amount: int | None
) -> UUID:
    """Write a cap; AlreadyExistsError if there is one at its place."""
    values = _values(workspace_id, place, amount)
    try:
        await connection.execute(_INSERT, values)
    except psycopg.errors.UniqueViolation:
        raise AlreadyExistsError(
            "There is a cap with the same state, scope and subject already; change that one, or"
            " PUT this one in its place."
        ) from None
    cap_id: UUID = values["id"]
    return cap_id


async def put_cap(
    connection: AsyncConnection[DictRow], workspace_id: UUID, place: CapPlace, amount: int | None
) -> tuple[UUID, str | None]:
    """Make the cap at a place this amount, whether there is one yet or not.

    Returns its id and the tag of what happened; None if nothing had to be done.
    """
    values = _values(workspace_id, place, amount)
    cursor = await connection.execute(
        f"{_INSERT} ON CONFLICT (workspace_id, state, scope, tenant_id, subject_id) DO UPDATE"
        " SET amount = excluded.amount, updated_at = now()"
        " WHERE caps.amount IS DISTINCT FROM excluded.amount RETURNING id",
        values,
    )
    row = await cursor.fetchone()
    if row is not None:
        return row["id"], "cap:created" if row["id"] == values["id"] else "cap:changed"
    cursor = await connection.execute(
        "SELECT id FROM caps WHERE workspace_id = %(workspace)s AND state = %(state)s"
        " AND scope = %(scope)s AND tenant_id IS NOT DISTINCT FROM %(tenant_id)s"
        " AND subject_id IS NOT DISTINCT FROM %(subject_id)s",
        values,
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the upsert has locked it
    return row["id"], None


async def set_cap(connection: AsyncConnection[DictRow], cap_id: UUID, amount: int | None) -> None:
    """Change how many runs a cap allows; None is any number."""
    await connection.execute(
        "UPDATE caps SET amount = %s, updated_at = now() WHERE id = %s", (amount, cap_id)
    )


async def delete_cap(connection: AsyncConnection[DictRow], cap_id: UUID) -> None:
    """Take a cap away; a default that it stood in for is in force again."""
    await connection.execute("DELETE FROM caps WHERE id = %s", (cap_id,))


def _values(workspace_id: UUID, place: CapPlace, amount: int | None) -> dict[str, Any]:
    return {
        **asdict(place),
        "id": uuid_utils.compat.uuid7(),
        "workspace": workspace_id,
        "amount": amount,
    }


def public_cap(row: DictRow) -> dict[str, Any]:
    """Return a cap as the API shows it."""
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "state": row["state"],
        "scope": row["scope"],
        "amount": row["amount"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
    if row["tenant_id"] is not None:
        shown |= {"tenantId": str(row["tenant_id"]), "tenantKey": row["tenant_key"]}
    if row["subject_id"] is not None:
        shown[SUBJECT_NAMES[row["scope"]]] = str(row["subject_id"])
    return shown
