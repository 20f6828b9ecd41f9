"""Running flows again: whole, from where they failed, from any node, and many at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.flow_run_rows import Narrowed, ended_flow_run_of, run_filter, show
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, VesicleError
from runtime.flows.again import copy_results, forked, keepable, repeated
from runtime.flows.read import count_flow_runs, find_flow_run, whole_flow_runs
from runtime.runs.states import TERMINAL, NewRun
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["flow runs"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Fork(BaseModel):
    """From which node run a new run goes on, and with which input in its place."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    node_run_id: UUID
    input: Any = None


class _Repeats(Narrowed):
    """Which ended runs are run again: the ones named, or those that fit, the newest first."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    ids: list[UUID] | None = Field(default=None, max_length=1000)
    state: Literal["completed", "failed", "stopped"] = "failed"
    resume: bool = False
    #: Whether it is only told which runs those are, and how many fit in all.
    dry_run: bool = False
    limit: int = Field(default=100, ge=1, le=1000)


@router.post("/flow-runs/{run_id}/repeat")
async def repeat(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Run the flow again as it was then, from its beginning, with the same input."""
    row = await ended_flow_run_of(caller, services, run_id)
    run = repeated(row, repeatOf=str(row["id"]))
    await _accept(caller, services, row, run, keep=False)
    return await show(caller, services, run.id)


@router.post("/flow-runs/{run_id}/resume")
async def resume(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Go on from where the run failed or was stopped, in a new run that keeps its results."""
    row = await ended_flow_run_of(caller, services, run_id)
    if row["status"] == "completed":
        raise BadRequestError("The flow run is completed; repeat it, or fork it from a node.")
    run = forked(row)
    await _accept(caller, services, row, run, keep=True)
    return await show(caller, services, run.id)


@router.post("/flow-runs/{run_id}/fork")
async def fork(
    run_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Go on from any node run with changed input; what does not come from it keeps its results."""
    given = await json_object(request)
    body = parse(_Fork, given, BadRequestError, "the body")
    row = await ended_flow_run_of(caller, services, run_id)
    overrides = {str(body.node_run_id): body.input} if "input" in given else None
    run = forked(row, overrides=overrides)
    await _accept(caller, services, row, run, keep=True, but=body.node_run_id)
    return await show(caller, services, run.id)


@router.post("/flow-runs/repeat")
async def repeat_many(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Run many again: `ids`, or those that fit what a list can be narrowed by.

    `{items: [{id, flowRunId}], count}`: `count` is how many fit in all, of which `limit` are run at
    once. With `dryRun` none is. `resume` keeps the results of those that did not complete.
    """
    body = parse(_Repeats, await json_object(request), BadRequestError, "the body")
    rows, count = await _meant(caller, services, body)
    items: list[dict[str, Any]] = []
    for row in rows:
        item: dict[str, Any] = {"id": str(row["id"])}
        if not body.dry_run:
            keep = body.resume and row["status"] != "completed"
            run = forked(row) if keep else repeated(row, repeatOf=str(row["id"]))
            try:
                await _accept(caller, services, row, run, keep=keep)
                item["flowRunId"] = str(run.id)
            except VesicleError as error:
                # Such as a full backlog: what has been started before is told all the same.
                item["error"] = error.body()
        items.append(item)
    return JsonAnswer({"items": items, "count": count})


async def _meant(caller: Caller, services: Services, body: _Repeats) -> tuple[list[DictRow], int]:
    """Return the runs that are run again at once, and how many fit in all."""
    async with services.database.transaction(caller.scope) as connection:
        if body.ids is not None:
            found = [row for each in body.ids if (row := await find_flow_run(connection, each))]
            ended = [row for row in found if row["status"] in TERMINAL]
            return ended[: body.limit], len(ended)
        if (wanted := await run_filter(connection, caller, body)) is None:
            return [], 0
        rows = await whole_flow_runs(connection, caller.workspace_id, wanted, limit=body.limit)
        if len(rows) < body.limit:
            return rows, len(rows)
        return rows, await count_flow_runs(connection, caller.workspace_id, wanted)


async def _accept(
    caller: Caller,
    services: Services,
    row: DictRow,
    run: NewRun,
    *,
    keep: bool,
    but: UUID | None = None,
) -> None:
    """Accept a run that goes on from another one's results, all in one transaction."""
    owner = Owner(caller.scope.workspace_id, row["tenant_id"])
    async with services.submission.accepting(owner, [run]) as connection:
        if keep:
            ids = await keepable(connection, row["id"], but=but)
            await copy_results(connection, row["id"], run.id, ids)
