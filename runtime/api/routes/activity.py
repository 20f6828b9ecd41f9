"""What happened: activity records, and the runs of actions as the field's clients know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.activity.read import (
    find_activity,
    list_activity,
    public_activity,
    public_run_log,
)
from runtime.api.activity_filters import find_places, narrowed
from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller, Caller
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, NotFoundError
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
    return await list_records(services, caller, query_of(request), public_activity)


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
    return await list_records(
        services, caller, query, public_run_log, statuses=statuses, tag=_RUN_TAG
    )


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
    show: Callable[[DictRow], dict[str, Any]],
    **changes: Any,
) -> Response:
    """Answer with a page of activity records, narrowed by a query, each as `show` has it."""
    spot = await find_places(services, caller, query)
    with_data = show is public_run_log
    pager = Pager.of(services.root, caller, "activity")
    async with services.database.transaction(caller.scope) as connection:
        wanted = replace(
            await narrowed(connection, caller, query, spot),
            before=pager.after(query),
            limit=limit_of(query),
            **changes,
        )
        rows, more = await list_activity(connection, caller.scope, wanted, with_data=with_data)
    body: dict[str, Any] = {"items": [show(row) for row in rows]}
    if more:
        body["cursor"] = pager.cursor(rows[-1]["id"])
    return JsonAnswer(body)


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
