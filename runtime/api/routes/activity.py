"""What happened: activity records, and the runs of actions as the field's clients know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.activity.read import (
    ActivityFilter,
    find_activity,
    list_activity,
    public_activity,
    public_run_log,
)
from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller, Caller
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.config.places import Named, Spot, find_spot
from runtime.config.rows import Viewer
from runtime.errors import BadRequestError, NotFoundError
from runtime.moments import parse_moment
from runtime.runs.read import find_run

__all__ = ["list_records", "router"]

router = APIRouter(tags=["activity"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: How the tags of the records begin that runs of actions leave.
_RUN_TAG = "action:run"

#: The contract's two ways in which a run can have ended.
_LOG_STATUSES = {"success": ["completed"], "error": ["failed", "stopped"]}


@router.get("/activity")
async def get_activities(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List activity records, newest first, without inputs and outputs."""
    query = query_of(request)
    statuses = query["status"].split(",") if "status" in query else None
    tag = query.get("tag") or query.get("kind")
    return await list_records(services, caller, query, statuses, tag, public_activity)


@router.get("/activity/{record_id}")
async def get_activity(record_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return an activity record, by its own id or by its run's."""
    return JsonAnswer(public_activity(await _find(services, caller, record_id, None)))


@router.get("/action-run-logs")
async def get_run_logs(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List the ended runs of actions, newest first."""
    query = query_of(request)
    statuses = None
    if "status" in query:
        statuses = _LOG_STATUSES.get(query["status"])
        if statuses is None:
            raise BadRequestError(
                "status is success or error.",
                data={"errors": [{"path": "/status", "message": "is neither success nor error"}]},
            )
    return await list_records(services, caller, query, statuses, _RUN_TAG, public_run_log)


@router.get("/action-run-logs/{record_id}")
async def get_run_log(record_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return the log of an action's run, by its own id or by the run's."""
    return JsonAnswer(public_run_log(await _find(services, caller, record_id, _RUN_TAG)))


@router.get("/action-run-logs/{record_id}/details")
async def get_run_details(record_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return what else is kept of an action's run: what its code logged, and how it failed."""
    row = await _find(services, caller, record_id, _RUN_TAG)
    async with services.database.transaction(caller.scope) as connection:
        run = await find_run(connection, row["run_id"])
    logs = run["logs"] if run is not None else None
    return JsonAnswer({**public_run_log(row), "logs": logs or []})


async def list_records(
    services: Services,
    caller: Caller,
    query: Mapping[str, str],
    statuses: list[str] | None,
    tag: str | None,
    show: Callable[[DictRow], dict[str, Any]],
) -> Response:
    """Answer with a page of activity records, narrowed by a query, each as `show` has it."""
    spot = await _spot(services, caller, query)
    with_data = show is public_run_log
    pager = Pager.of(services.root, caller, "activity")
    async with services.database.transaction(caller.scope) as connection:
        wanted = ActivityFilter(
            tenant_id=await tenant_of(connection, caller, query),
            tag=tag,
            statuses=statuses,
            element_id=_as_id(query, "elementId") or _as_id(query, "actionId"),
            element_key=query.get("elementKey") or query.get("actionKey"),
            integration_id=_as_id(query, "integrationId") or _place(spot, "integrationKey", query),
            connection_id=_as_id(query, "connectionId") or _place(spot, "connectionKey", query),
            run_id=_as_id(query, "runId") or _as_id(query, "actionRunId"),
            search=query.get("search"),
            since=parse_moment(query.get("from"), "from"),
            until=parse_moment(query.get("to"), "to"),
            before=pager.after(query),
            limit=limit_of(query),
        )
        rows, more = await list_activity(connection, caller.scope, wanted, with_data=with_data)
    body: dict[str, Any] = {"items": [show(row) for row in rows]}
    if more:
        body["cursor"] = pager.cursor(rows[-1]["id"])
    return JsonAnswer(body)


async def _spot(services: Services, caller: Caller, query: Mapping[str, str]) -> Spot | None:
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


def _place(spot: Spot | None, name: str, query: Mapping[str, str]) -> UUID | None:
    if name not in query or spot is None or spot.place is None:
        return None
    return spot.place.connection_id if name == "connectionKey" else spot.place.integration_id


async def _find(services: Services, caller: Caller, record_id: str, tag: str | None) -> DictRow:
    try:
        wanted = UUID(record_id)
    except ValueError:
        wanted = None
    if wanted is not None:
        async with services.database.transaction(caller.scope) as connection:
            row = await find_activity(connection, caller.scope, wanted, tag=tag)
        if row is not None:
            return row
    raise NotFoundError(f"There is no activity record {record_id[:100]!r}.")


def _as_id(query: Mapping[str, str], name: str) -> UUID | None:
    if name not in query:
        return None
    try:
        return UUID(query[name])
    except ValueError:
        raise BadRequestError(
            f"{name} is not an id.", data={"errors": [{"path": f"/{name}", "message": "is no id"}]}
        ) from None
