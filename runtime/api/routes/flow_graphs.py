"""Flows and flow runs to look at: as SVG, as text for Mermaid, or as JSON."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller
from runtime.api.element_writes import viewer_of
from runtime.api.flow_run_rows import flow_run_of
from runtime.api.selectors import asked
from runtime.api.services import Services, services_of
from runtime.config.kinds import kind_of
from runtime.config.locate import locate
from runtime.config.specs.flows import parse_flow
from runtime.errors import BadRequestError
from runtime.flows.graph import Graph, graph_of, mermaid
from runtime.flows.read import node_counts
from runtime.flows.shown import state_of_node
from runtime.flows.svg import svg

__all__ = ["router"]

router = APIRouter(tags=["flows"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: A drawing is opened by itself too: whatever names it holds, nothing of it may run.
_HARMLESS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/flows/{selector}/graph")
async def get_flow_graph(
    selector: str,  # noqa: ARG001 - read with the query that narrows it
    request: Request,
    caller: AnyCaller,
    services: ServicesHere,
) -> Response:
    """Draw the flow that is in force; `format` is svg, mermaid or json."""
    wanted, viewer = asked(request), viewer_of(caller)
    async with services.database.session(caller.scope) as session:
        located = await locate(session, kind_of("flow"), wanted.selector, viewer, wanted.named)
    spec = located.rows[0].spec if located.is_archived else located.effective().spec
    flow = parse_flow(spec, f"The flow {located.key}")
    return _answer(request, graph_of(flow.nodes), flow.name or located.key)


@router.get("/flow-runs/{run_id}/graph")
async def get_run_graph(
    run_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Draw the flow as it was when the run started, each node in the colour of its state."""
    row = await flow_run_of(caller, services, run_id)
    async with services.database.transaction(caller.scope) as connection:
        counts = await node_counts(connection, row["id"])
    pinned = orjson.loads(row["request"].get("definition") or "{}")
    flow = parse_flow({"nodes": pinned.get("nodes", {})}, "The flow")
    states = {
        key: (state, counts[key])
        for key in flow.nodes
        if (state := state_of_node(counts.get(key), row["status"])) is not None
    }
    return _answer(request, graph_of(flow.nodes, states), row["element_key"] or run_id)


def _answer(request: Request, graph: Graph, title: str) -> Response:
    accepted = request.headers.get("accept", "")
    otherwise = "svg" if "image/svg+xml" in accepted else "json"
    match request.query_params.get("format", otherwise):
        case "svg":
            return Response(svg(graph, title), media_type="image/svg+xml", headers=_HARMLESS)
        case "mermaid":
            return Response(mermaid(graph), media_type="text/plain", headers=_HARMLESS)
        case "json":
            return JsonAnswer(graph.shown())
    raise BadRequestError(
        "format is svg, mermaid or json.",
        data={"errors": [{"path": "/format", "message": "is svg, mermaid or json"}]},
    )
