"""Running actions, in each of the ways that callers know."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.actions.rehearsal import rehearse
from runtime.actions.target import Selection
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_body, json_object
from runtime.api.caller import TenantCaller
from runtime.api.running import (
    idempotency_key,
    priority,
    queue,
    run_and_wait,
    seconds_to_wait,
)
from runtime.api.selectors import instance_of, parent_names, query_of
from runtime.api.services import Services, services_of
from runtime.config.kinds import kind_of
from runtime.errors import BadRequestError, ConfigurationError
from runtime.submission import Accepted, RunRequest

__all__ = ["router"]

router = APIRouter(tags=["runs"])

ServicesHere = Annotated[Services, Depends(services_of)]

_ACT = frozenset(
    {
        "id",
        "key",
        "api",
        "code",
        "dryRun",
        "input",
        "meta",
        "integrationId",
        "integrationKey",
        "connectionId",
        "connectionKey",
    }
)
_DRY = {"true": True, "1": True, "false": False, "0": False, "": False}
_API = frozenset({"method", "path", "body", "headers", "query"})


@router.post("/actions/{selector}/run")
async def run_action(
    selector: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Run an action by id, key or `integrationKey.elementKey`; the body is `{input, meta?}`.

    With `dryRun=true` in the query, or `dryRun: true` in the body, nothing is run or reserved: the
    answer says what a run would send, as far as that is known without an answer.
    """
    return await _run_wrapped(request, caller, services, selector)


@router.post("/action/run")
async def run_selected_action(
    request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Run the action that the query names (`key` or `id`); the body is `{input, meta?}`."""
    return await _run_wrapped(request, caller, services, _selected(request))


@router.post("/connections/{connection}/actions/{selector}/run")
async def run_over_connection(
    connection: str, selector: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Run an action over one connection; the whole body is the input."""
    instance = instance_of(query_of(request))
    selection = Selection(action=selector, connection=connection, instance=instance)
    given = RunRequest(selection, await json_body(request), queue=queue(request))
    return await _run(request, caller, services, given)


@router.post("/action-instance/run")
async def run_instance(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Run the action that the query names, over the connection it names; the body is the input."""
    query = query_of(request)
    names = ("id", *parent_names(kind_of("action")))
    selector = next((query[name] for name in names if name in query), "")
    selection = _narrow(request, selector)
    given = RunRequest(selection, await json_body(request), queue=queue(request))
    return await _run(request, caller, services, given)


@router.post("/act")
async def act(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Run an action by `id` or `key`, or a request to the connected app given as `api`."""
    body = await json_object(request)
    if unknown := sorted(set(body) - _ACT):
        raise BadRequestError(
            f"POST /act does not know {unknown[0]!r}.", data={"path": f"/{unknown[0]}"}
        )
    ways = [name for name in ("id", "key", "api", "code") if body.get(name) is not None]
    if len(ways) != 1:
        raise BadRequestError("Give exactly one of id, key, api or code.", data={"given": ways})
    if ways == ["code"]:
        raise ConfigurationError("Running code that comes with the request is not offered.")
    selection = Selection(
        action=None if ways == ["api"] else _text(body, ways[0]),
        inline=_inline(body["api"]) if ways == ["api"] else None,
        integration=_text(body, "integrationKey") or _text(body, "integrationId"),
        connection=_text(body, "connectionKey") or _text(body, "connectionId"),
    )
    given = RunRequest(selection, body.get("input"), _meta(body), queue(request))
    return await _run(request, caller, services, given, dry=body.get("dryRun"))


async def _run_wrapped(
    request: Request, caller: TenantCaller, services: Services, selector: str
) -> Response:
    body = await json_object(request)
    given = RunRequest(_narrow(request, selector), body.get("input"), _meta(body), queue(request))
    return await _run(request, caller, services, given, dry=body.get("dryRun"))


async def _run(
    request: Request,
    caller: TenantCaller,
    services: Services,
    given: RunRequest,
    *,
    dry: Any = None,
) -> Response:
    if _is_dry(request, dry):
        rehearsed = await rehearse(services.database, caller.owner, given.selection, given.input)
        return JsonAnswer(rehearsed)
    given = replace(given, idempotency_key=idempotency_key(request), priority=priority(request))

    async def submit(run_id: UUID) -> Accepted:
        return await services.submission.submit(caller.owner, given, run_id=run_id)

    wait = seconds_to_wait(request, services.settings.sync_wait)
    return await run_and_wait(request, services, caller, submit, wait=wait)


def _is_dry(request: Request, in_body: Any) -> bool:
    """Return whether only a rehearsal is asked for; what says neither is refused, not run."""
    asked = _DRY.get(request.query_params.get("dryRun", "").lower())
    if asked is None:
        raise BadRequestError("dryRun is true or false.", data={"query": "dryRun"})
    if in_body is not None and not isinstance(in_body, bool):
        raise BadRequestError("dryRun is true or false.", data={"path": "/dryRun"})
    return asked or bool(in_body)


def _selected(request: Request) -> str:
    selector = request.query_params.get("id") or request.query_params.get("key")
    if not selector:
        raise BadRequestError("Name the action with ?key= or ?id=.", data={"query": "key"})
    return selector


def _narrow(request: Request, selector: str) -> Selection:
    query = request.query_params
    return Selection(
        action=selector,
        integration=query.get("integrationKey") or query.get("integrationId") or None,
        connection=query.get("connectionId") or query.get("connectionKey") or None,
        instance=instance_of(query_of(request)),
    )


def _meta(body: dict[str, Any]) -> dict[str, Any] | None:
    meta = body.get("meta")
    if meta is not None and not isinstance(meta, dict):
        raise BadRequestError("meta must be an object.", data={"path": "/meta"})
    return meta


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequestError(f"{name} must be a string.", data={"path": f"/{name}"})
    return value


def _inline(api: Any) -> dict[str, Any]:
    if not isinstance(api, dict) or not isinstance(api.get("path"), str):
        raise BadRequestError("api must be an object with a path.", data={"path": "/api/path"})
    if unknown := sorted(set(api) - _API):
        raise BadRequestError(
            f"api does not know {unknown[0]!r}.", data={"path": f"/api/{unknown[0]}"}
        )
    # What a caller writes here is data, not formulas: it has its values already.
    request = {
        "path": {"$plain": api["path"]},
        "method": str(api.get("method", "GET")).upper(),
        "query": {"$plain": api.get("query")},
        "headers": {"$plain": api.get("headers")},
        "data": {"$plain": api.get("body")},
    }
    return {"type": "api-request-to-external-app", "config": {"request": request}}
