"""Caps: managers write them, tenants read those that bind them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, ManagerCaller
from runtime.api.cap_writes import Amount, CapBody, place_of, recorded, refuse_move
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.caps.manage import (
    CapFilter,
    delete_cap,
    find_cap,
    insert_cap,
    list_caps,
    public_cap,
    put_cap,
    set_cap,
)
from runtime.config.element_keys import as_uuid
from runtime.errors import BadRequestError, NotFoundError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["caps"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Changes a locked cap and returns the tag of what happened; None if nothing had to be done.
_Write = Callable[[AsyncConnection[DictRow], DictRow], Awaitable[str | None]]


class _Change(BaseModel):
    """The one thing about a cap that changes."""

    amount: Amount


@router.get("/caps")
async def get_caps(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List caps: the workspace's for a manager, those that bind it for a tenant."""
    query = query_of(request)
    pager = Pager.of(services.root, caller, "caps")
    size = limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = CapFilter(
            state=query.get("state"),
            scope=query.get("scope"),
            tenant_id=await tenant_of(connection, caller, query),
            subject_id=_subject_of(query),
            after=pager.after(query),
            limit=size,
        )
        rows = await list_caps(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_cap(row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)


@router.post("/caps")
async def post_cap(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Make a cap, in force at once for the runs that start from now on."""
    body = parse(CapBody, await json_object(request), BadRequestError, "The cap")
    place = await place_of(services, caller, body)
    async with services.database.transaction(caller.scope) as connection:
        cap_id = await insert_cap(connection, caller.workspace_id, place, body.amount)
        row = await find_cap(connection, caller.scope, cap_id)
        await recorded(connection, caller, row, "cap:created")
    services.changed(caller.workspace_id)
    return JsonAnswer(public_cap(row), 201)


@router.put("/caps")
async def put_cap_in_place(
    request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Make the cap of a subject this amount, whether there is one yet or not."""
    body = parse(CapBody, await json_object(request), BadRequestError, "The cap")
    place = await place_of(services, caller, body)
    async with services.database.transaction(caller.scope) as connection:
        cap_id, tag = await put_cap(connection, caller.workspace_id, place, body.amount)
        row = await find_cap(connection, caller.scope, cap_id)
        if tag is not None:
            await recorded(connection, caller, row, tag)
    services.changed(caller.workspace_id)
    return JsonAnswer(public_cap(row))


@router.get("/caps/{cap_id}")
async def get_cap(cap_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a cap."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_cap(connection, caller.scope, _existing(cap_id))
    return JsonAnswer(public_cap(row))


@router.patch("/caps/{cap_id}")
async def patch_cap(
    cap_id: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Change how many runs a cap allows, null being any number."""
    document = await json_object(request)
    amount = parse(_Change, document, BadRequestError, "The cap").amount

    async def change(connection: AsyncConnection[DictRow], row: DictRow) -> str | None:
        refuse_move(document, public_cap(row))
        if amount == row["amount"]:
            return None
        await set_cap(connection, row["id"], amount)
        return "cap:changed"

    return await _write(services, caller, cap_id, change)


@router.delete("/caps/{cap_id}")
async def remove_cap(cap_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Take a cap away and return it as it was."""

    async def delete(connection: AsyncConnection[DictRow], row: DictRow) -> str | None:
        await delete_cap(connection, row["id"])
        return "cap:deleted"

    return await _write(services, caller, cap_id, delete)


async def _write(services: Services, caller: Caller, cap_id: str, write: _Write) -> Response:
    """Change a cap, record what `write` says that happened, and tell the scheduler."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_cap(connection, caller.scope, _existing(cap_id), lock=True)
        if (tag := await write(connection, row)) is not None:
            if tag != "cap:deleted":
                row = await find_cap(connection, caller.scope, row["id"])
            await recorded(connection, caller, row, tag)
    services.changed(caller.workspace_id)
    return JsonAnswer(public_cap(row))


def _existing(cap_id: str) -> UUID:
    found = as_uuid(cap_id)
    if found is None:
        raise NotFoundError(f"There is no cap {cap_id[:100]!r}.")
    return found


def _subject_of(query: Mapping[str, str]) -> UUID | None:
    """Return the connection or element that a list is narrowed to."""
    for name in ("connectionId", "elementId"):
        if name in query:
            if (found := as_uuid(query[name])) is None:
                raise BadRequestError(f"{name} is not an id.", data={"query": name})
            return found
    return None
