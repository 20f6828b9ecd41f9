"""Links of a data link table over one connection: list, note, remove."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.element_writes import viewer_of
from runtime.api.instances import Instances
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.config.data_links import (
    LinkBody,
    LinkTable,
    delete_link,
    list_links,
    public_link,
    upsert_link,
)
from runtime.config.kinds import kind_of
from runtime.config.locate import locate
from runtime.errors import BadRequestError, NotFoundError
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["data links"])

ServicesHere = Annotated[Services, Depends(services_of)]


@router.get("/data-link-table-instance/links")
async def get_links(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List links, by `appRecordId`, `externalRecordId` and `direction` if they are given."""
    query, table = query_of(request), await _table(request, caller, services)
    pager = Pager.of(services.root, caller, f"data-links/{table.id}")
    size = limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_links(
            connection,
            table,
            app_record_id=query.get("appRecordId"),
            external_record_id=query.get("externalRecordId"),
            direction=query.get("direction"),
            after=pager.after(query),
            limit=size + 1,
        )
    body: dict[str, Any] = {"items": [public_link(table, row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)


@router.post("/data-link-table-instance/links")
async def post_link(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Note that two records belong together; noted again, it stays one link."""
    given = await json_object(request)
    table = await _table(request, caller, services)
    link = parse(LinkBody, given, BadRequestError, "The link")
    async with services.database.transaction(caller.scope) as connection:
        row = await upsert_link(connection, table, link)
    return JsonAnswer(public_link(table, row), 201)


@router.delete("/data-link-table-instance/links")
async def remove_link(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Remove the link that the body names; `deleted` says whether there was one."""
    given = await json_object(request)
    table = await _table(request, caller, services)
    link = parse(LinkBody, given, BadRequestError, "The link")
    async with services.database.transaction(caller.scope) as connection:
        row = await delete_link(connection, table, link)
    return JsonAnswer({"deleted": row is not None})


async def _table(request: Request, caller: Caller, services: Services) -> LinkTable:
    """Return the table and the connection that a request names; its instance begins with that."""
    kind, query = kind_of("data-link-table"), query_of(request)
    instances = Instances(services, caller, kind)
    wanted = await instances.asked(query)
    if caller.tenant_id is not None:
        await instances.begin(wanted)
    async with services.database.session(caller.scope) as session:
        viewer = viewer_of(caller)
        located = await locate(session, kind, wanted.selector, viewer, wanted.named)
    connection_id, tenant_id = located.place.connection_id, located.viewer.tenant_id
    if connection_id is None or tenant_id is None:
        raise NotFoundError("Links stand in a table, over a connection: give connectionId.")
    owner = Owner(caller.workspace_id, tenant_id)
    return LinkTable.at(owner, connection_id, located.effective().layers)
