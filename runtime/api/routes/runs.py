"""Looking at runs and stopping them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller, Caller
from runtime.api.paging import Pager
from runtime.api.running import wait_for
from runtime.api.selectors import id_in_path
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, NotFoundError
from runtime.flows.descent import stop_below, tell_stopped
from runtime.runs.read import RunFilter, list_runs, public_run
from runtime.runs.stop import stop_run
from runtime.signals import announce_stop
from runtime.waiting import tell_ended
from runtime.why import explain

__all__ = ["router", "stop_and_show"]

router = APIRouter(tags=["runs"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Seconds that GET /runs/{id}?wait= may ask for.
_LONGEST_WAIT = 60.0


class RunQuery(BaseModel):
    """What narrows a list of runs."""

    model_config = ConfigDict(alias_generator=to_camel)

    status: str | None = None
    kind: str | None = None
    tenant_id: str | None = None
    action_id: str | None = None
    connection_id: str | None = None
    limit: int = Field(default=50, ge=1, le=1000)
    cursor: str | None = None


@router.get("/runs")
async def get_runs(
    caller: AnyCaller, services: ServicesHere, query: Annotated[RunQuery, Query()]
) -> Response:
    """List runs, the newest first: a tenant's own, or the workspace's for a manager."""
    pager = Pager.of(services.root, caller, "runs")
    wanted = RunFilter(
        status=query.status,
        kind=query.kind,
        tenant_id=_as_id(query.tenant_id, "tenantId"),
        element_id=_as_id(query.action_id, "actionId"),
        connection_id=_as_id(query.connection_id, "connectionId"),
        before=pager.after({"cursor": query.cursor or "0"}),
        limit=query.limit,
    )
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_runs(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_run(row) for row in rows[: query.limit]]}
    if len(rows) > query.limit:
        body["cursor"] = pager.cursor(rows[query.limit - 1]["id"])
    return JsonAnswer(body)


@router.get("/runs/{run_id}")
async def get_run(
    run_id: str,
    caller: AnyCaller,
    services: ServicesHere,
    wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT)] = 0,
) -> Response:
    """Return a run, after waiting up to `wait` seconds for its end."""
    row = await wait_for(services, caller, id_in_path(run_id, "run"), wait)
    return JsonAnswer(public_run(row))


@router.get("/runs/{run_id}/why")
async def get_why(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Say why a run is not running: its place, what holds it, and when its next chance is."""
    async with services.database.transaction(caller.scope) as connection:
        reasons = await explain(connection, services.redis, id_in_path(run_id, "run"))
    if reasons is None:
        raise NotFoundError(f"There is no run {run_id}.")
    return JsonAnswer(reasons)


@router.post("/runs/{run_id}/stop")
async def post_stop(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Stop a run. One that has ended stays as it ended."""
    return JsonAnswer(public_run(await stop_and_show(caller, services, id_in_path(run_id, "run"))))


async def stop_and_show(caller: Caller, services: Services, stopped: UUID) -> DictRow:
    """Stop a run and return its row; waits a moment for a worker to let go of it."""
    async with services.database.transaction(caller.scope) as connection:
        result = await stop_run(connection, stopped)
        below = await stop_below(connection, stopped)
    await tell_stopped(services.redis, below)
    if result == "unknown":
        raise NotFoundError(f"There is no run {stopped}.")
    if result == "stopping":
        await announce_stop(services.redis, stopped)
    elif result == "stopped":
        await tell_ended(services.redis, [stopped])
    row = await wait_for(services, caller, stopped, 2.0 if result == "stopping" else 0.0)
    if result == "stopped":
        await services.submission.dispatch.withdraw(row["queue"], [stopped])
    return row


def _as_id(value: str | None, name: str) -> UUID | None:
    if value is None:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise BadRequestError(f"{name} is not an id.", data={"query": name}) from None
