"""Running flows: start, look at, stop, repeat, resume, fork, and give what a node waits for."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.actions.target import Selection
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.paging import Pager
from runtime.api.routes.runs import stop_and_show
from runtime.api.running import idempotency_key
from runtime.api.selectors import id_in_path, instance_of, query_of
from runtime.api.services import Services, services_of
from runtime.config.store import element_by_id
from runtime.errors import BadRequestError, NotFoundError
from runtime.flows.again import copy_results, forked, keepable, repeated
from runtime.flows.read import (
    find_flow_run,
    list_flow_runs,
    list_node_runs,
    node_counts,
    public_flow_run,
    public_node_run,
)
from runtime.flows.signals import decide, deliver
from runtime.flows.wake import send_woken
from runtime.runs.states import TERMINAL, NewRun
from runtime.submission import RunRequest
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["flow runs"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: What narrows a list -> the column.
_FILTERS = {
    "flow_id": "element_id",
    "universal_flow_id": "element_id",
    "integration_flow_id": "element_id",
    "flow_key": "element_key",
    "tenant_id": "tenant_id",
    "user_id": "tenant_id",
    "state": "status",
    "integration_id": "integration_id",
    "connection_id": "connection_id",
}


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


class _Fork(_Body):
    """From which node run a new run goes on, and with which input in its place."""

    node_run_id: UUID
    input: Any = None


class _Event(_Body):
    """What happened, for the nodes that wait for it."""

    event: str = Field(min_length=1, max_length=200)
    data: Any = None


class _Decision(_Body):
    """What is said of an approval."""

    comment: str | None = Field(default=None, max_length=10_000)
    data: Any = None


class _Repeats(_Body):
    """Which ended runs are run again: the ones named, or those that fit."""

    ids: list[UUID] | None = Field(default=None, max_length=1000)
    flow_key: str | None = None
    state: Literal["completed", "failed", "stopped"] = "failed"
    resume: bool = False
    limit: int = Field(default=100, ge=1, le=1000)


class _Listed(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    flow_id: UUID | None = None
    universal_flow_id: UUID | None = None
    integration_flow_id: UUID | None = None
    connection_flow_id: UUID | None = None
    flow_key: str | None = None
    tenant_id: UUID | None = None
    user_id: UUID | None = None
    state: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    limit: int = Field(default=50, ge=1, le=1000)
    cursor: str | None = None


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
    return await _shown(caller, services, accepted.run_id)


@router.get("/flow-runs")
async def get_flow_runs(
    caller: AnyCaller, services: ServicesHere, query: Annotated[_Listed, Query()]
) -> Response:
    """List flow runs, the newest first: a tenant's own, or the workspace's for a manager."""
    narrowed = {
        column: value
        for name, column in _FILTERS.items()
        if (value := getattr(query, name)) is not None
    }
    if caller.scope.tenant_id is not None:
        if narrowed.get("tenant_id", caller.scope.tenant_id) != caller.scope.tenant_id:
            return JsonAnswer({"items": []})
        narrowed["tenant_id"] = caller.scope.tenant_id
    pager = Pager.of(services.root, caller, "flow-runs")
    before = pager.after({"cursor": query.cursor or "0"})
    async with services.database.transaction(caller.scope) as connection:
        if query.connection_flow_id is not None:
            instance = await element_by_id(connection, query.connection_flow_id)
            if instance is None:
                return JsonAnswer({"items": []})
            narrowed["element_key"] = instance.key
            narrowed["connection_id"] = instance.connection_id
        rows = await list_flow_runs(
            connection, caller.scope.workspace_id, narrowed, before=before, limit=query.limit
        )
    body: dict[str, Any] = {"items": [public_flow_run(row) for row in rows[: query.limit]]}
    if len(rows) > query.limit:
        body["cursor"] = pager.cursor(rows[query.limit - 1]["id"])
    return JsonAnswer(body)


@router.get("/flow-runs/{run_id}")
async def get_flow_run(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a flow run, with how many runs each of its nodes has had."""
    return await _shown(caller, services, id_in_path(run_id, "flow run"))


@router.get("/flow-runs/{run_id}/output")
async def get_output(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return what the run came to: the output of its last node, or a list if there are several."""
    row = await _find(caller, services, run_id)
    if row["status"] != "completed":
        raise BadRequestError(f"The flow run has no output: it is {row['status']}.")
    return JsonAnswer({"output": row["output"]})


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
    row = await _find(caller, services, run_id)
    found = await _node_rows(caller, services, row["id"], node_key, node_run)
    return JsonAnswer(public_node_run(found, ended=row["status"] in TERMINAL))


@router.get("/flow-runs/{run_id}/nodes/{node_key}/outputs")
async def get_node_outputs(
    run_id: str,
    node_key: str,
    caller: AnyCaller,
    services: ServicesHere,
    cursor: int = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List what a node has passed on: `{id, nodeRunId, data}` an output."""
    row = await _find(caller, services, run_id)
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_node_runs(
            connection, row["id"], node_key, offset=max(0, cursor), limit=limit + 1
        )
    items = [
        {"id": f"{each['id']}.{number}", "nodeRunId": str(each["id"]), "data": output}
        for each in rows[:limit]
        for number, output in enumerate(each["outputs"] or [])
    ]
    more = {"cursor": str(cursor + limit)} if len(rows) > limit else {}
    return JsonAnswer({"items": items, **more})


@router.get("/flow-runs/{run_id}/nodes/{node_key}/output/{output}")
@router.get("/flow-runs/{run_id}/nodes/{node_key}/outputs/{output}")
async def get_node_output(
    run_id: str, node_key: str, output: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return one output of a node."""
    row = await _find(caller, services, run_id)
    node_run, _, number = output.partition(".")
    found = await _node_rows(caller, services, row["id"], node_key, node_run)
    outputs = found["outputs"] or []
    position = int(number or 0) if number.isdigit() or not number else -1
    if not 0 <= position < len(outputs):
        raise NotFoundError(f"There is no output {output[:100]!r}.")
    shown = {"id": f"{found['id']}.{position}", "nodeRunId": str(found["id"])}
    return JsonAnswer({**shown, "data": outputs[position]})


@router.post("/flow-runs/{run_id}/stop")
async def stop_flow_run(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Stop a flow run. One that has ended stays as it ended."""
    row = await _find(caller, services, run_id)
    await stop_and_show(caller, services, row["id"])
    return await _shown(caller, services, row["id"])


@router.post("/flow-runs/{run_id}/repeat")
async def repeat(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Run the flow again as it was then, from its beginning, with the same input."""
    row = await _ended(caller, services, run_id)
    return await _again(caller, services, row, repeated(row, repeatOf=str(row["id"])))


@router.post("/flow-runs/{run_id}/resume")
async def resume(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Go on from where the run failed or was stopped, in a new run that keeps its results."""
    row = await _ended(caller, services, run_id)
    if row["status"] == "completed":
        raise BadRequestError("The flow run is completed; repeat it, or fork it from a node.")
    return await _again(caller, services, row, forked(row), keep=True)


@router.post("/flow-runs/{run_id}/fork")
async def fork(
    run_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Go on from any node run with changed input; what does not come from it keeps its results."""
    given = await json_object(request)
    body = parse(_Fork, given, BadRequestError, "the body")
    row = await _ended(caller, services, run_id)
    overrides = {str(body.node_run_id): body.input} if "input" in given else None
    run = forked(row, overrides=overrides)
    return await _again(caller, services, row, run, keep=True, but=body.node_run_id)


@router.post("/flow-runs/repeat")
async def repeat_many(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Run many again (`ids`, or by flow and state); `resume` keeps their results."""
    body = parse(_Repeats, await json_object(request), BadRequestError, "the body")
    narrowed: dict[str, Any] = {"status": body.state}
    if body.flow_key:
        narrowed["element_key"] = body.flow_key
    if caller.scope.tenant_id is not None:
        narrowed["tenant_id"] = caller.scope.tenant_id
    async with services.database.transaction(caller.scope) as connection:
        if body.ids is not None:
            rows = [row for each in body.ids if (row := await find_flow_run(connection, each))]
        else:
            rows = await list_flow_runs(
                connection, caller.scope.workspace_id, narrowed, before=None, limit=body.limit
            )
    items = []
    for row in rows[: body.limit]:
        if row["status"] not in TERMINAL:
            continue
        keep = body.resume and row["status"] != "completed"
        run = forked(row) if keep else repeated(row, repeatOf=str(row["id"]))
        await _accept(caller, services, row, run, keep=keep)
        items.append({"id": str(row["id"]), "flowRunId": str(run.id)})
    return JsonAnswer({"items": items})


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
    row = await _find(caller, services, run_id)
    found = await _node_rows(caller, services, row["id"], node_key, node_run)
    said = {
        "approved": decision == "approve",
        "comment": body.comment,
        "data": body.data,
        "by": caller.actor,
    }
    async with services.database.transaction(caller.scope) as connection:
        woken = await decide(connection, row["id"], found["id"], said)
    await send_woken(services.submission.dispatch, woken)
    return await _shown(caller, services, row["id"])


async def _shown(caller: Caller, services: Services, run_id: UUID) -> Response:
    async with services.database.pipelined(caller.scope) as connection:
        row = await find_flow_run(connection, run_id)
        if row is None:
            raise NotFoundError(f"There is no flow run {run_id}.")
        return JsonAnswer(public_flow_run(row, await node_counts(connection, run_id)))


async def _find(caller: Caller, services: Services, run_id: str) -> dict[str, Any]:
    async with services.database.transaction(caller.scope) as connection:
        row = await find_flow_run(connection, id_in_path(run_id, "flow run"))
    if row is None:
        raise NotFoundError(f"There is no flow run {run_id}.")
    return row


async def _ended(caller: Caller, services: Services, run_id: str) -> dict[str, Any]:
    row = await _find(caller, services, run_id)
    if row["status"] not in TERMINAL:
        raise BadRequestError(f"The flow run has not ended: it is {row['status']}.")
    return row


async def _node_page(
    caller: Caller, services: Services, run_id: str, node_key: str, offset: int, limit: int
) -> Response:
    row = await _find(caller, services, run_id)
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_node_runs(
            connection, row["id"], node_key, offset=max(0, offset), limit=limit + 1
        )
    ended = row["status"] in TERMINAL
    more = {"cursor": str(offset + limit)} if len(rows) > limit else {}
    items = [public_node_run(each, ended=ended) for each in rows[:limit]]
    return JsonAnswer({"items": items, **more})


async def _node_rows(
    caller: Caller, services: Services, run_id: UUID, node_key: str, node_run: str
) -> dict[str, Any]:
    wanted = id_in_path(node_run, "node run")
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_node_runs(connection, run_id, node_key, node_run=wanted)
    if not rows:
        raise NotFoundError(f"There is no run {node_run[:100]} of the node {node_key[:100]!r}.")
    return rows[0]


async def _again(
    caller: Caller,
    services: Services,
    row: dict[str, Any],
    run: NewRun,
    *,
    keep: bool = False,
    but: UUID | None = None,
) -> Response:
    await _accept(caller, services, row, run, keep=keep, but=but)
    return await _shown(caller, services, run.id)


async def _accept(
    caller: Caller,
    services: Services,
    row: dict[str, Any],
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
