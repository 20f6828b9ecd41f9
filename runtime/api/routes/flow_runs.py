"""Running flows: start, look at, stop, and give what a node waits for."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.actions.target import Selection
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.flow_run_rows import Listed, flow_run_of, run_filter, show
from runtime.api.paging import Pager
from runtime.api.routes.runs import stop_and_show
from runtime.api.running import idempotency_key
from runtime.api.selectors import id_in_path, instance_of, query_of
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, NotFoundError
from runtime.flows.read import (
    downstream_of,
    find_node_run,
    list_flow_runs,
    list_node_runs,
    output_of,
)
from runtime.flows.shown import Downstream, public_flow_run, public_node_run, public_outputs
from runtime.flows.signals import decide, deliver
from runtime.flows.wake import send_woken
from runtime.runs.states import TERMINAL
from runtime.submission import RunRequest
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["flow runs"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class _Start(_Body):
    """Which flow is run, over which connection, from which trigger on, with what."""

    flow_instance_id: str | None = None
    flow_id: str | None = None
    flow_key: str | None = None
    integration_key: str | None = None
    integration_id: str | None = None
    connection_key: str | None = None
    connection_id: str | None = None
    instance_key: str | None = Field(default=None, min_length=1, max_length=200)
    start_node_key: str | None = None
    node_key: str | None = None
    input: Any = None
    meta: dict[str, Any] | None = None
    priority: int = Field(default=0, ge=-9, le=9)
    queue: Literal["default", "bulk", "sync"] = "default"


class _Event(_Body):
    """What happened, for the nodes that wait for it."""

    event: str = Field(min_length=1, max_length=200)
    data: Any = None


class _Decision(_Body):
    """What is said of an approval."""

    comment: str | None = Field(default=None, max_length=10_000)
    data: Any = None


@router.post("/flow-runs")
async def post_flow_run(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Start a flow; the answer is its run, which is queued."""
    body = parse(_Start, await json_object(request), BadRequestError, "the body")
    flow = body.flow_instance_id or body.flow_id or body.flow_key
    if flow is None:
        raise BadRequestError("Name the flow: flowInstanceId, flowId or flowKey.")
    return await _start(request, caller, services, flow, body)


@router.post("/flows/{selector}/run")
async def run_flow(
    selector: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Start the flow with this id or key; the body is as for POST /flow-runs."""
    body = parse(_Start, await json_object(request), BadRequestError, "the body")
    return await _start(request, caller, services, selector, body)


@router.post("/connections/{connection}/flows/{selector}/run")
async def run_flow_over_connection(
    connection: str, selector: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Start a flow over one connection, as its instance there is; the body is as for a flow."""
    body = parse(_Start, await json_object(request), BadRequestError, "the body")
    where = {"connection_id": connection, "connection_key": None}
    instance = instance_of(query_of(request)) or body.instance_key
    placed = body.model_copy(update={**where, "instance_key": instance})
    return await _start(request, caller, services, selector, placed)


async def _start(
    request: Request, caller: Caller, services: Services, flow: str, body: _Start
) -> Response:
    selection = Selection(
        action=flow,
        kind="flow",
        integration=body.integration_key or body.integration_id,
        connection=body.connection_key or body.connection_id,
        instance=body.instance_key,
    )
    wanted = RunRequest(
        selection,
        body.input,
        meta=body.meta,
        queue=body.queue,
        priority=body.priority,
        idempotency_key=idempotency_key(request),
        node_key=body.start_node_key or body.node_key,
    )
    accepted = await services.submission.submit(caller.owner, wanted)
    return await show(caller, services, accepted.run_id)


@router.get("/flow-runs")
async def get_flow_runs(
    caller: AnyCaller, services: ServicesHere, query: Annotated[Listed, Query()]
) -> Response:
    """List flow runs, the newest first: a tenant's own, or the workspace's for a manager."""
    pager = Pager.of(services.root, caller, "flow-runs")
    before = pager.after({"cursor": query.cursor or "0"})
    async with services.database.transaction(caller.scope) as connection:
        if (wanted := await run_filter(connection, caller, query)) is None:
            return JsonAnswer({"items": []})
        rows = await list_flow_runs(
            connection, caller.workspace_id, wanted, before=before, limit=query.limit
        )
    body: dict[str, Any] = {"items": [public_flow_run(row) for row in rows[: query.limit]]}
    if len(rows) > query.limit:
        body["cursor"] = pager.cursor(rows[query.limit - 1]["id"])
    return JsonAnswer(body)


@router.get("/flow-runs/{run_id}")
async def get_flow_run(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a flow run, with how many runs each of its nodes has had."""
    return await show(caller, services, id_in_path(run_id, "flow run"))


@router.get("/flow-runs/{run_id}/output")
async def get_output(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return what the run came to: the output of its last node, or a list if there are several."""
    row = await flow_run_of(caller, services, run_id)
    if row["status"] != "completed":
        raise BadRequestError(f"The flow run has no output: it is {row['status']}.")
    async with services.database.transaction(caller.scope) as connection:
        return JsonAnswer({"output": await output_of(connection, row["id"])})


@router.get("/flow-runs/{run_id}/nodes/{node_key}/runs")
async def get_node_runs(
    run_id: str,
    node_key: str,
    caller: AnyCaller,
    services: ServicesHere,
    cursor: int = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List the runs of a node, in the order in which they began."""
    return await _node_page(caller, services, run_id, node_key, cursor, limit)


@router.get("/flow-runs/{run_id}/nodes/{node_key}/runs/{node_run}")
async def get_node_run(
    run_id: str, node_key: str, node_run: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return one run of a node; `cursor=…` in place of its id lists them from there on."""
    # The published client sends the cursor without a question mark.
    if node_run.startswith("cursor="):
        text = node_run.removeprefix("cursor=")
        at = int(text) if text.isascii() and text.isdigit() else 0
        return await _node_page(caller, services, run_id, node_key, at, 100)
    row = await flow_run_of(caller, services, run_id)
    wanted = id_in_path(node_run, "node run")
    async with services.database.transaction(caller.scope) as connection:
        found = await find_node_run(connection, row["id"], node_key, wanted)
        downstream = await downstream_of(connection, row["id"], [wanted])
    if found is None:
        raise _no_node_run(node_key, node_run)
    ended = row["status"] in TERMINAL
    return JsonAnswer(public_node_run(found, ended=ended, downstream=downstream))


@router.get("/flow-runs/{run_id}/nodes/{node_key}/outputs")
async def get_node_outputs(
    run_id: str,
    node_key: str,
    caller: AnyCaller,
    services: ServicesHere,
    cursor: int = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List what a node has passed on: `{id, nodeRunId, data, bytes, downstreamRuns}` an output.

    Of a large one `truncated` is true; it is had by its id.
    """
    row = await flow_run_of(caller, services, run_id)
    rows, downstream = await _node_rows(caller, services, row["id"], node_key, cursor, limit)
    items = [
        {**output, "nodeRunId": str(each["id"])}
        for each in rows[:limit]
        for output in public_outputs(each, downstream)
    ]
    more = {"cursor": str(cursor + limit)} if len(rows) > limit else {}
    return JsonAnswer({"items": items, **more})


@router.get("/flow-runs/{run_id}/nodes/{node_key}/output/{output}")
@router.get("/flow-runs/{run_id}/nodes/{node_key}/outputs/{output}")
async def get_node_output(
    run_id: str, node_key: str, output: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return one output of a node, whole."""
    row = await flow_run_of(caller, services, run_id)
    node_run, _, number = output.partition(".")
    wanted = id_in_path(node_run, "node run")
    async with services.database.transaction(caller.scope) as connection:
        found = await find_node_run(connection, row["id"], node_key, wanted)
        downstream = await downstream_of(connection, row["id"], [wanted])
    if found is None:
        raise _no_node_run(node_key, node_run)
    for shown in public_outputs(found, downstream):
        if shown["id"] == f"{wanted}.{number or 0}":
            return JsonAnswer({**shown, "nodeRunId": str(wanted)})
    raise NotFoundError(f"There is no output {output[:100]!r}.")


@router.post("/flow-runs/{run_id}/stop")
async def stop_flow_run(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Stop a flow run. One that has ended stays as it ended."""
    row = await flow_run_of(caller, services, run_id)
    await stop_and_show(caller, services, row["id"])
    return await show(caller, services, row["id"])


@router.post("/flow-runs/{run_id}/events")
async def post_event(
    run_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Give an event to the nodes of the run that wait for it."""
    body = parse(_Event, await json_object(request), BadRequestError, "the body")
    async with services.database.transaction(caller.scope) as connection:
        row, count = await deliver(
            connection, id_in_path(run_id, "flow run"), body.event, body.data
        )
    await send_woken(services.submission.dispatch, row)
    return JsonAnswer({"delivered": count})


@router.post("/flow-runs/{run_id}/nodes/{node_key}/runs/{node_run}/{decision}")
async def post_decision(
    run_id: str,
    node_key: str,
    node_run: str,
    decision: str,
    request: Request,
    caller: AnyCaller,
    services: ServicesHere,
) -> Response:
    """Approve or reject what an approval asks."""
    body = parse(_Decision, await json_object(request), BadRequestError, "the body")
    if decision not in ("approve", "reject"):
        raise NotFoundError("A decision is approve or reject.")
    row = await flow_run_of(caller, services, run_id)
    wanted = id_in_path(node_run, "node run")
    said = {
        "approved": decision == "approve",
        "comment": body.comment,
        "data": body.data,
        "by": caller.actor,
    }
    async with services.database.transaction(caller.scope) as connection:
        if await find_node_run(connection, row["id"], node_key, wanted) is None:
            raise _no_node_run(node_key, node_run)
        woken = await decide(connection, row["id"], wanted, said)
    await send_woken(services.submission.dispatch, woken)
    return await show(caller, services, row["id"])


async def _node_page(
    caller: Caller, services: Services, run_id: str, node_key: str, offset: int, limit: int
) -> Response:
    row = await flow_run_of(caller, services, run_id)
    rows, downstream = await _node_rows(caller, services, row["id"], node_key, offset, limit)
    ended = row["status"] in TERMINAL
    more = {"cursor": str(max(0, offset) + limit)} if len(rows) > limit else {}
    items = [public_node_run(each, ended=ended, downstream=downstream) for each in rows[:limit]]
    return JsonAnswer({"items": items, **more})


async def _node_rows(
    caller: Caller, services: Services, run_id: UUID, node_key: str, offset: int, limit: int
) -> tuple[list[DictRow], Downstream]:
    """Return a page of a node's runs, one more than the limit if there are, and what followed."""
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_node_runs(
            connection, run_id, node_key, offset=max(0, offset), limit=limit + 1
        )
        return rows, await downstream_of(connection, run_id, [row["id"] for row in rows[:limit]])


def _no_node_run(node_key: str, node_run: str) -> NotFoundError:
    return NotFoundError(f"There is no run {node_run[:100]} of the node {node_key[:100]!r}.")
