"""Which activity a request asks for."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.activity.read import ActivityFilter
from runtime.api.caller import Caller
from runtime.api.selectors import id_in_query
from runtime.api.services import Services
from runtime.api.tenant_names import tenant_of
from runtime.config.places import Named, Spot, find_spot
from runtime.config.rows import Viewer
from runtime.moments import parse_moment

__all__ = ["find_places", "narrowed"]


async def find_places(services: Services, caller: Caller, query: Mapping[str, str]) -> Spot | None:
    """Return what the keys in a query stand for. Ids need no look: records outlive their place."""
    named = Named(
        integration=query.get("integrationKey"),
        connection=query.get("connectionKey"),
        tenant=query.get("tenantId") or query.get("tenantKey"),
    )
    if named.integration is None and named.connection is None:
        return None
    async with services.database.session(caller.scope) as session:
        return await find_spot(session, Viewer(caller.workspace_id, caller.tenant_id), named)


async def narrowed(
    connection: AsyncConnection[DictRow],
    caller: Caller,
    query: Mapping[str, str],
    spot: Spot | None,
) -> ActivityFilter:
    """Return what a query narrows activity to, without its page; BadRequestError for nonsense."""
    return ActivityFilter(
        tenant_id=await tenant_of(connection, caller, query),
        tag=query.get("tag") or query.get("kind"),
        statuses=query["status"].split(",") if "status" in query else None,
        element_id=id_in_query(query, "elementId") or id_in_query(query, "actionId"),
        element_key=query.get("elementKey") or query.get("actionKey"),
        integration_id=id_in_query(query, "integrationId") or _place(spot, "integrationKey", query),
        connection_id=id_in_query(query, "connectionId") or _place(spot, "connectionKey", query),
        run_id=id_in_query(query, "runId") or id_in_query(query, "actionRunId"),
        search=query.get("search"),
        since=parse_moment(query.get("from"), "from"),
        until=parse_moment(query.get("to"), "to"),
    )


def _place(spot: Spot | None, name: str, query: Mapping[str, str]) -> UUID | None:
    if name not in query or spot is None or spot.place is None:
        return None
    return spot.place.connection_id if name == "connectionKey" else spot.place.integration_id
