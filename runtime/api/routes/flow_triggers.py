"""Which triggers of flows are live: for a tenant its own, for a manager the workspace's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, id_in_query, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.triggers.read import TriggerFilter, list_triggers, public_trigger

__all__ = ["router"]

router = APIRouter(tags=["flow runs"])

ServicesHere = Annotated[Services, Depends(services_of)]


@router.get("/flow-triggers")
async def get_flow_triggers(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """List triggers, live or not; each that is not says why."""
    query = query_of(request)
    pager = Pager.of(services.root, caller, "flow-triggers")
    size = limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = TriggerFilter(
            tenant_id=await tenant_of(connection, caller, query),
            flow_key=query.get("flowKey"),
            connection_id=id_in_query(query, "connectionId"),
            type=query.get("type"),
            is_live=flag(query, "isLive") if "isLive" in query else None,
            after=pager.after(query),
            limit=size,
        )
        rows = await list_triggers(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_trigger(row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)
