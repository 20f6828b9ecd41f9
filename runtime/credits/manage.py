"""Writes limits, so that each counts what was used before it was made.

Where a limit stands (its resource, scope, subject, window and tenant) never changes: workers may
know it for another moment, and slices of another length in its windows would be counted wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credits.limits import LimitRule, LimitScope, WhenReached
from runtime.credits.recount import SAME_PLACE, recount
from runtime.errors import AlreadyExistsError, NotFoundError
from runtime.pages import page
from runtime.tenancy import Scope

__all__ = [
    "ALERT_AT",
    "LimitFilter",
    "LimitPlace",
    "archive_limit",
    "find_limit",
    "insert_limit",
    "list_limits",
    "public_limit",
    "put_limit",
    "restore_limit",
    "set_alert_at",
    "set_amount",
    "set_when_reached",
    "shown_window",
]

#: Parts of a limit at which an alert is raised, unless it says otherwise.
ALERT_AT = (0.8, 1.0)

_SELECT = (
    "SELECT l.*, t.key AS tenant_key FROM limits AS l LEFT JOIN tenants AS t ON t.id = l.tenant_id"
)


@dataclass(frozen=True, slots=True)
class LimitPlace:
    """What a limit is about. `tenant_id` makes it that tenant's own."""

    resource: str
    scope: LimitScope
    window_seconds: int
    tenant_id: UUID | None = None
    subject_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class LimitFilter:
    """Which limits a list shows, by id, those after `after`."""

    resource: str | None = None
    scope: str | None = None
    tenant_id: UUID | None = None
    include_archived: bool = False
    after: UUID | None = None
    limit: int = 100


async def find_limit(
    connection: AsyncConnection[DictRow], scope: Scope, limit_id: UUID, *, lock: bool = False
) -> DictRow:
    """Return a limit, archived ones too; NotFoundError for one that this scope does not see.

    `lock` keeps other writers of the row away; it lets workers go on reserving under it.
    """
    cursor = await connection.execute(
        f"{_SELECT} WHERE l.workspace_id = %(workspace)s AND l.id = %(id)s"
        " AND (%(tenant)s::uuid IS NULL OR l.tenant_id IS NULL OR l.tenant_id = %(tenant)s)"
        f"{' FOR NO KEY UPDATE OF l' if lock else ''}",
        {"workspace": scope.workspace_id, "tenant": scope.tenant_id, "id": limit_id},
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"There is no limit {limit_id}.")
    return row


async def _limit_at(
    connection: AsyncConnection[DictRow], workspace_id: UUID, place: LimitPlace
) -> DictRow | None:
    """Return the live limit at a place, locked; None if there is none."""
    cursor = await connection.execute(
        f"{_SELECT} WHERE l.workspace_id = %s AND l.resource = %s AND l.scope = %s"
        " AND l.tenant_id IS NOT DISTINCT FROM %s AND l.subject_id IS NOT DISTINCT FROM %s"
        " AND l.window_seconds = %s AND l.archived_at IS NULL FOR NO KEY UPDATE OF l",
        (
            workspace_id,
            place.resource,
            place.scope,
            place.tenant_id,
            place.subject_id,
            place.window_seconds,
        ),
    )
    return await cursor.fetchone()


async def list_limits(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: LimitFilter
) -> Sequence[DictRow]:
    """Return limits by id, one more than the limit if there are more.

    A tenant gets the workspace's and its own, without those that its own stand in for.
    """
    tests = {
        "resource": "l.resource = %(resource)s",
        "scope": "l.scope = %(scope)s",
        "tenant_id": "l.tenant_id = %(tenant_id)s",
        "after": "l.id > %(after)s",
        "workspace": "l.workspace_id = %(workspace)s",
        "tenant": (
            f"(l.tenant_id = %(tenant)s OR (l.tenant_id IS NULL AND NOT EXISTS (SELECT FROM limits"
            f" AS o WHERE {SAME_PLACE} AND o.tenant_id = %(tenant)s)))"
        ),
    }
    if not wanted.include_archived:
        tests["workspace"] += " AND l.archived_at IS NULL"
    values = {**asdict(wanted), "workspace": scope.workspace_id, "tenant": scope.tenant_id}
    if scope.tenant_id is not None:
        values["tenant_id"] = None
    return await page(connection, _SELECT, tests, values, by="l.id", limit=wanted.limit)


async def insert_limit(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    place: LimitPlace,
    amount: Decimal | None,
    when_reached: WhenReached = "refuse",
    alert_at: Sequence[float] = ALERT_AT,
) -> UUID:
    """Write a limit and count what was used; AlreadyExistsError if there is one at its place."""
    limit_id = uuid_utils.compat.uuid7()
    try:
        await connection.execute(
            "INSERT INTO limits (id, workspace_id, tenant_id, resource, scope, subject_id,"
            " window_seconds, amount, when_reached, alert_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                limit_id,
                workspace_id,
                place.tenant_id,
                place.resource,
                place.scope,
                place.subject_id,
                place.window_seconds,
                amount,
                when_reached,
                list(alert_at),
            ),
        )
    except psycopg.errors.UniqueViolation:
        raise _taken() from None
    row = await find_limit(connection, Scope.workspace(workspace_id), limit_id)
    await _recount_place(connection, row)
    return limit_id


async def put_limit(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    place: LimitPlace,
    amount: Decimal | None,
) -> UUID:
    """Make the limit at a place allow this much, whether there is one yet or not."""
    row = await _limit_at(connection, workspace_id, place)
    if row is None:
        return await insert_limit(connection, workspace_id, place, amount)
    await set_amount(connection, row, amount)
    limit_id: UUID = row["id"]
    return limit_id


async def set_amount(
    connection: AsyncConnection[DictRow], row: DictRow, amount: Decimal | None
) -> None:
    """Change how much a limit allows; None is unlimited. `row` is locked by the transaction."""
    await connection.execute(
        "UPDATE limits SET amount = %s, updated_at = now() WHERE id = %s", (amount, row["id"])
    )
    if row["amount"] is None and row["archived_at"] is None:
        await _recount(connection, {**row, "amount": amount}, None)


async def set_alert_at(
    connection: AsyncConnection[DictRow], row: DictRow, alert_at: Sequence[float]
) -> None:
    """Change at which parts of a limit an alert is raised. `row` is locked by the transaction."""
    await connection.execute(
        "UPDATE limits SET alert_at = %s, updated_at = now() WHERE id = %s",
        (list(alert_at), row["id"]),
    )


async def set_when_reached(
    connection: AsyncConnection[DictRow], row: DictRow, when_reached: WhenReached
) -> None:
    """Change what becomes of a run that does not fit. `row` is locked by the transaction."""
    await connection.execute(
        "UPDATE limits SET when_reached = %s, updated_at = now() WHERE id = %s",
        (when_reached, row["id"]),
    )


async def archive_limit(connection: AsyncConnection[DictRow], row: DictRow) -> None:
    """Take a limit out of force. `row` is locked by the transaction."""
    await connection.execute(
        "UPDATE limits SET archived_at = now(), updated_at = now() WHERE id = %s", (row["id"],)
    )
    if (beneath := await _beneath(connection, row)) is not None:
        await _recount(connection, beneath, row["tenant_id"])


async def restore_limit(connection: AsyncConnection[DictRow], row: DictRow) -> None:
    """Put a limit in force again; AlreadyExistsError if another has its place by now."""
    try:
        await connection.execute(
            "UPDATE limits SET archived_at = NULL, updated_at = now() WHERE id = %s", (row["id"],)
        )
    except psycopg.errors.UniqueViolation:
        raise _taken() from None
    await _recount_place(connection, row)


async def _recount_place(connection: AsyncConnection[DictRow], row: DictRow) -> None:
    """Count a limit that came into force, and the one that it stands in for."""
    beneath = await _beneath(connection, row)
    # In the order in which workers lock the windows of several limits.
    for each in sorted(filter(None, (row, beneath)), key=itemgetter("id")):
        await _recount(connection, each, row["tenant_id"])


async def _recount(
    connection: AsyncConnection[DictRow], row: DictRow, tenant_id: UUID | None
) -> None:
    if row["amount"] is not None:
        await recount(connection, row["workspace_id"], _rule(row), tenant_id=tenant_id)


async def _beneath(connection: AsyncConnection[DictRow], row: DictRow) -> DictRow | None:
    """Return the workspace's limit that a tenant's own limit stands in for, locked."""
    if row["tenant_id"] is None:
        return None
    place = LimitPlace(
        row["resource"], row["scope"], row["window_seconds"], None, row["subject_id"]
    )
    return await _limit_at(connection, row["workspace_id"], place)


def _rule(row: DictRow) -> LimitRule:
    return LimitRule(**{name: row[name] for name in LimitRule.__dataclass_fields__})


def _taken() -> AlreadyExistsError:
    return AlreadyExistsError(
        "There is a limit on this resource with the same scope, subject, tenant and window already;"
        " change that one."
    )


def public_limit(row: DictRow) -> dict[str, Any]:
    """Return a limit as the API shows it."""
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "resource": row["resource"],
        "scope": row["scope"],
        "window": shown_window(row["window_seconds"]),
        "windowSeconds": row["window_seconds"],
        "limit": None if row["amount"] is None else float(row["amount"]),
        "whenReached": row["when_reached"],
        "alertAt": row["alert_at"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "archivedAt": row["archived_at"],
    }
    if row["tenant_id"] is not None:
        shown |= {"tenantId": str(row["tenant_id"]), "tenantKey": row["tenant_key"]}
    if row["subject_id"] is not None:
        shown[f"{row['scope']}Id"] = str(row["subject_id"])
    return shown


def shown_window(seconds: int) -> str:
    """Return a window as callers write it: `30d`, `12h`, `90m`, `10s`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
