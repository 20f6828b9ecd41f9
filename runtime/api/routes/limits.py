"""Limits: managers write them, tenants read those that bind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel, Field

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, ManagerCaller
from runtime.api.limit_writes import (
    AlertAt,
    Amount,
    LimitBody,
    amount_of,
    place_of,
    recorded,
    refuse_move,
)
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.credits.limits import WhenReached
from runtime.credits.manage import (
    LimitFilter,
    archive_limit,
    find_limit,
    insert_limit,
    list_limits,
    public_limit,
    restore_limit,
    set_alert_at,
    set_amount,
    set_when_reached,
)
from runtime.errors import BadRequestError, NotFoundError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["limits"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Changes a locked limit and returns the tag of what happened; None if nothing had to be done.
_Write = Callable[[AsyncConnection[DictRow], DictRow], Awaitable[str | None]]


class _Change(BaseModel):
    """What can change about a limit, of which at least one is given."""

    limit: Amount = None
    when_reached: WhenReached | None = Field(default=None, alias="whenReached")
    alert_at: AlertAt | None = Field(default=None, alias="alertAt")


@router.get("/limits")
async def get_limits(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List limits: the workspace's for a manager, those that bind it for a tenant."""
    query = query_of(request)
    pager = Pager.of(services.root, caller, "limits")
    size = limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = LimitFilter(
            resource=query.get("resource"),
            scope=query.get("scope"),
            tenant_id=await tenant_of(connection, caller, query),
            include_archived=flag(query, "includeArchived"),
            after=pager.after(query),
            limit=size,
        )
        rows = await list_limits(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_limit(row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)


@router.post("/limits")
async def post_limit(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Make a limit, which counts at once what was used inside its window before."""
    body = parse(LimitBody, await json_object(request), BadRequestError, "The limit")
    place = await place_of(services, caller, body)
    async with services.database.transaction(caller.scope) as connection:
        limit_id = await insert_limit(
            connection,
            caller.workspace_id,
            place,
            amount_of(body.limit),
            body.when_reached,
            body.alert_at,
        )
        row = await recorded(connection, caller, limit_id, "limit:created")
    services.changed(caller.workspace_id)
    return JsonAnswer(public_limit(row), 201)


@router.get("/limits/{limit_id}")
async def get_limit(limit_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a limit."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_limit(connection, caller.scope, _existing(limit_id))
    return JsonAnswer(public_limit(row))


@router.patch("/limits/{limit_id}")
@router.put("/limits/{limit_id}")
async def change_limit(
    limit_id: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Change how much a limit allows (null: unlimited), what it does, or when it alerts."""
    document = await json_object(request)
    wanted = parse(_Change, document, BadRequestError, "The limit")
    if not wanted.model_fields_set:
        raise BadRequestError("Give `limit`, a number or null, `whenReached` or `alertAt`.")

    async def change(connection: AsyncConnection[DictRow], row: DictRow) -> str | None:
        refuse_move(document, public_limit(row))
        if "limit" in wanted.model_fields_set:
            await set_amount(connection, row, amount_of(wanted.limit))
        if wanted.when_reached is not None:
            await set_when_reached(connection, row, wanted.when_reached)
        if wanted.alert_at is not None:
            await set_alert_at(connection, row, wanted.alert_at)
        return "limit:changed"

    return await _write(services, caller, limit_id, change)


@router.delete("/limits/{limit_id}")
async def delete_limit(limit_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Archive a limit: it is no longer in force."""

    async def archive(connection: AsyncConnection[DictRow], row: DictRow) -> str | None:
        if row["archived_at"] is not None:
            return None
        await archive_limit(connection, row)
        return "limit:archived"

    return await _write(services, caller, limit_id, archive)


@router.post("/limits/{limit_id}/restore")
async def post_restore(limit_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Put an archived limit in force again."""

    async def restore(connection: AsyncConnection[DictRow], row: DictRow) -> str | None:
        if row["archived_at"] is None:
            return None
        await restore_limit(connection, row)
        return "limit:restored"

    return await _write(services, caller, limit_id, restore)


async def _write(services: Services, caller: Caller, limit_id: str, write: _Write) -> Response:
    """Change a limit, record what `write` says that happened, and tell the workers."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_limit(connection, caller.scope, _existing(limit_id), lock=True)
        if (tag := await write(connection, row)) is not None:
            row = await recorded(connection, caller, row["id"], tag)
    services.changed(caller.workspace_id)
    return JsonAnswer(public_limit(row))


def _existing(limit_id: str) -> UUID:
    try:
        return UUID(limit_id)
    except ValueError:
        raise NotFoundError(f"There is no limit {limit_id[:100]!r}.") from None
