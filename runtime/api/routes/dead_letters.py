"""Dead letters: runs that failed for good, to be looked at, driven again or put away."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.paging import Pager
from runtime.api.selectors import id_in_path
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, NotFoundError
from runtime.runs.dead import DeadFilter, find_dead, list_dead, put_away
from runtime.runs.read import public_run
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["dead letters"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Narrowed(BaseModel):
    """What narrows dead letters down."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    reason: str | None = None
    tenant_id: UUID | None = None
    action_id: UUID | None = None
    connection_id: UUID | None = None


class _Listed(_Narrowed):
    """A page of them."""

    limit: int = Field(default=50, ge=1, le=1000)
    cursor: str | None = None


class _Meant(_Narrowed):
    """Those that something is done with: the ones named, or all that fit, up to a limit."""

    ids: list[UUID] | None = Field(default=None, max_length=1000)
    limit: int = Field(default=100, ge=1, le=1000)


@router.get("/dead-letters")
async def get_dead_letters(
    caller: AnyCaller, services: ServicesHere, query: Annotated[_Listed, Query()]
) -> Response:
    """List dead letters, the newest first: a tenant's own, or the workspace's for a manager."""
    pager = Pager.of(services.root, caller, "dead-letters")
    wanted = _filter(query, limit=query.limit, before=pager.after({"cursor": query.cursor or "0"}))
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_dead(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_run(row) for row in rows[: query.limit]]}
    if len(rows) > query.limit:
        body["cursor"] = pager.cursor(rows[query.limit - 1]["id"])
    return JsonAnswer(body)


@router.get("/dead-letters/{run_id}")
async def get_dead_letter(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a dead letter."""
    return JsonAnswer(public_run(await _existing(services, caller, run_id)))


@router.post("/dead-letters/redrive")
async def redrive_dead_letters(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Drive many again: those whose `ids` are given, or those that fit, the newest first."""
    rows, more = await _meant(request, services, caller)
    again = await _redrive(services, caller, rows)
    items = [{"id": str(old), "runId": str(new)} for old, new in again.items()]
    return JsonAnswer({"items": items, "more": more})


@router.post("/dead-letters/purge")
async def purge_dead_letters(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Put many away: those whose `ids` are given, or those that fit, the newest first."""
    rows, more = await _meant(request, services, caller)
    async with services.database.transaction(caller.scope) as connection:
        purged = await put_away(connection, [row["id"] for row in rows])
    return JsonAnswer({"purged": purged, "more": more})


@router.post("/dead-letters/{run_id}/redrive")
async def redrive_dead_letter(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Drive one again; the answer names the new run."""
    row = await _existing(services, caller, run_id)
    again = await _redrive(services, caller, [row])
    if not again:  # somebody else was faster
        raise NotFoundError(f"There is no dead letter {run_id}.")
    new = str(again[row["id"]])
    return JsonAnswer({"id": run_id, "runId": new}, 202, {"Location": f"/runs/{new}"})


@router.delete("/dead-letters/{run_id}")
async def delete_dead_letter(run_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Put one away; the run itself stays on record."""
    row = await _existing(services, caller, run_id)
    async with services.database.transaction(caller.scope) as connection:
        await put_away(connection, [row["id"]])
    return Response(status_code=204)


async def _meant(
    request: Request, services: Services, caller: Caller
) -> tuple[list[dict[str, Any]], bool]:
    meant = parse(_Meant, await json_object(request), BadRequestError, "the body")
    limit = len(meant.ids) if meant.ids is not None else meant.limit
    wanted = _filter(meant, limit=limit, ids=meant.ids)
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_dead(connection, caller.scope, wanted)
    return rows[:limit], len(rows) > limit


async def _redrive(
    services: Services, caller: Caller, rows: list[dict[str, Any]]
) -> dict[UUID, UUID]:
    by_tenant: dict[UUID, list[UUID]] = defaultdict(list)
    for row in rows:
        by_tenant[row["tenant_id"]].append(row["id"])
    again: dict[UUID, UUID] = {}
    for tenant_id, run_ids in by_tenant.items():
        owner = Owner(caller.scope.workspace_id, tenant_id)
        again |= await services.submission.redrive(owner, run_ids)
    return again


async def _existing(services: Services, caller: Caller, run_id: str) -> dict[str, Any]:
    async with services.database.transaction(caller.scope) as connection:
        row = await find_dead(connection, id_in_path(run_id, "dead letter"))
    if row is None:
        raise NotFoundError(f"There is no dead letter {run_id}.")
    return row


def _filter(given: _Narrowed, **more: Any) -> DeadFilter:
    return DeadFilter(
        reason=given.reason,
        tenant_id=given.tenant_id,
        element_id=given.action_id,
        connection_id=given.connection_id,
        **more,
    )
