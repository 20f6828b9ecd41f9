"""Outgoing webhooks: where a workspace is told of events, and the log of it. For managers."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import Caller, ManagerCaller
from runtime.api.outside_addresses import check_address
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import id_in_path, id_in_query, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.api.webhook_bodies import BulkReplay, EndpointChange, NewEndpoint, Rotation
from runtime.errors import BadRequestError, NotFoundError
from runtime.moments import parse_moment
from runtime.validation import parse
from runtime.webhooks.deliveries import (
    DeliveryFilter,
    find_delivery,
    insert_test,
    list_deliveries,
    public_delivery,
    replay,
    replay_many,
)
from runtime.webhooks.endpoints import (
    change_endpoint,
    delete_endpoint,
    find_endpoint,
    insert_endpoint,
    list_endpoints,
    public_endpoint,
)
from runtime.webhooks.secrets import add_secret, load_secrets
from runtime.webhooks.signing import new_secret

__all__ = ["router"]

router = APIRouter(tags=["webhooks"])

ServicesHere = Annotated[Services, Depends(services_of)]

_WHAT = "webhook endpoint"
_STATUSES = ("pending", "delivered", "failed")
_PRIVATE = {"Cache-Control": "no-store"}


@router.get("/webhook-endpoints")
async def get_endpoints(caller: ManagerCaller, services: ServicesHere) -> Response:
    """List the workspace's endpoints."""
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_endpoints(connection, caller.workspace_id)
    return JsonAnswer({"items": [public_endpoint(row) for row in rows]})


@router.post("/webhook-endpoints")
async def post_endpoint(
    request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Make an endpoint; its secret is in the answer."""
    body = parse(NewEndpoint, await json_object(request), BadRequestError, "The webhook endpoint")
    check_address(services.settings, body.url, "/url", "The webhook endpoint")
    async with services.database.transaction(caller.scope) as connection:
        row, secret = await insert_endpoint(
            connection, services.vault, caller.workspace_id, body.model_dump()
        )
        await _record(connection, caller, row, "created", body.model_dump(by_alias=True))
    return JsonAnswer({**public_endpoint(row), "secret": secret}, 201, headers=_PRIVATE)


@router.get("/webhook-endpoints/{endpoint_id}")
async def get_endpoint(endpoint_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Return an endpoint."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_endpoint(connection, caller.workspace_id, id_in_path(endpoint_id, _WHAT))
    return JsonAnswer(public_endpoint(row))


@router.patch("/webhook-endpoints/{endpoint_id}")
async def patch_endpoint(
    endpoint_id: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Change an endpoint. `isEnabled: true` switches one on again that was switched off."""
    body = parse(
        EndpointChange, await json_object(request), BadRequestError, "The webhook endpoint"
    )
    changes = body.changes()
    check_address(services.settings, changes.get("url"), "/url", "The webhook endpoint")
    async with services.database.transaction(caller.scope) as connection:
        row = await _locked(connection, caller, endpoint_id)
        row = await change_endpoint(connection, row, changes)
        shown = body.model_dump(by_alias=True, exclude_unset=True)
        await _record(connection, caller, row, "changed", shown)
    return JsonAnswer(public_endpoint(row))


@router.delete("/webhook-endpoints/{endpoint_id}")
async def remove_endpoint(
    endpoint_id: str, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Delete an endpoint for good, with its secret; its deliveries follow within two hours."""
    async with services.database.transaction(caller.scope) as connection:
        row = await _locked(connection, caller, endpoint_id)
        await delete_endpoint(connection, row)
        await _record(connection, caller, row, "deleted", {"url": row["url"]})
    return JsonAnswer(public_endpoint(row))


@router.get("/webhook-endpoints/{endpoint_id}/secret")
async def get_secret(endpoint_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Return the endpoint's secret; that it was asked for is put on record."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_endpoint(connection, caller.workspace_id, id_in_path(endpoint_id, _WHAT))
        await _record(connection, caller, row, "secret_read", None)
        secrets = await load_secrets(connection, services.vault, [row["id"]])
    if row["id"] not in secrets:
        raise NotFoundError("The webhook endpoint has no secret; rotate it to get one.")
    return JsonAnswer({"secret": secrets[row["id"]][0]}, headers=_PRIVATE)


@router.post("/webhook-endpoints/{endpoint_id}/rotate-secret")
async def post_rotation(
    endpoint_id: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Make a new secret; until the overlap ends, both sign."""
    body = parse(Rotation, await json_object(request), BadRequestError, "The rotation")
    secret = new_secret()
    async with services.database.transaction(caller.scope) as connection:
        row = await _locked(connection, caller, endpoint_id)
        await add_secret(
            connection,
            services.vault,
            caller.workspace_id,
            row["id"],
            secret,
            overlap=body.overlap_seconds,
        )
        changes = {"overlapSeconds": body.overlap_seconds}
        await _record(connection, caller, row, "secret_rotated", changes)
    return JsonAnswer({"secret": secret, **changes}, headers=_PRIVATE)


@router.post("/webhook-endpoints/{endpoint_id}/test")
async def post_test(endpoint_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Send an endpoint an event that means nothing; GET the delivery to see what came of it."""
    async with services.database.transaction(caller.scope) as connection:
        endpoint = await _locked(connection, caller, endpoint_id)
        if not endpoint["is_enabled"]:
            raise BadRequestError("The webhook endpoint is switched off; set isEnabled first.")
        row = await insert_test(connection, endpoint)
    return JsonAnswer(public_delivery(row), 202)


@router.post("/webhook-endpoints/{endpoint_id}/replay")
async def post_bulk_replay(
    endpoint_id: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Send an endpoint's deliveries since a moment again, 10,000 at most in one call."""
    body = parse(BulkReplay, await json_object(request), BadRequestError, "The replay")
    since = body.since if body.since.tzinfo else body.since.replace(tzinfo=UTC)
    async with services.database.transaction(caller.scope) as connection:
        row = await _locked(connection, caller, endpoint_id)
        count = await replay_many(
            connection,
            row["id"],
            since=since,
            status=None if body.status == "any" else body.status,
            limit=body.limit,
        )
        changes = {"since": since.isoformat(), "status": body.status, "replayed": count}
        await _record(connection, caller, row, "replayed", changes)
    return JsonAnswer({"replayed": count})


@router.get("/webhook-deliveries")
async def get_deliveries(
    request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """List deliveries with their attempts, newest first."""
    query = query_of(request)
    status = query.get("status")
    if status not in (None, *_STATUSES):
        raise BadRequestError(
            f"status is one of {', '.join(_STATUSES)}.",
            data={"errors": [{"path": "/status", "message": "is no status of a delivery"}]},
        )
    pager, size = Pager.of(services.root, caller, "webhook-deliveries"), limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = DeliveryFilter(
            endpoint_id=id_in_query(query, "webhookEndpointId") or id_in_query(query, "endpointId"),
            tenant_id=await tenant_of(connection, caller, query),
            status=status,
            event=query.get("eventType") or query.get("event"),
            since=parse_moment(query.get("from"), "from"),
            until=parse_moment(query.get("to"), "to"),
            before=pager.after(query),
            limit=size,
        )
        rows = await list_deliveries(connection, caller.workspace_id, wanted)
    body: dict[str, Any] = {"items": [public_delivery(row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)


@router.get("/webhook-deliveries/{delivery_id}")
async def get_delivery(delivery_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Return a delivery with its payload."""
    wanted = id_in_path(delivery_id, "webhook delivery")
    async with services.database.transaction(caller.scope) as connection:
        row = await find_delivery(connection, caller.workspace_id, wanted)
    return JsonAnswer(public_delivery(row))


@router.post("/webhook-deliveries/{delivery_id}/replay")
async def post_replay(delivery_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Send a delivery again, under the same id."""
    wanted = id_in_path(delivery_id, "webhook delivery")
    async with services.database.transaction(caller.scope) as connection:
        row = await replay(connection, caller.workspace_id, wanted)
        endpoint = {"id": row["endpoint_id"]}
        await _record(connection, caller, endpoint, "replayed", {"delivery": str(wanted)})
    return JsonAnswer(public_delivery(row))


async def _locked(
    connection: AsyncConnection[DictRow], caller: Caller, endpoint_id: str
) -> DictRow:
    wanted = id_in_path(endpoint_id, _WHAT)
    return await find_endpoint(connection, caller.workspace_id, wanted, lock=True)


async def _record(
    connection: AsyncConnection[DictRow],
    caller: Caller,
    row: dict[str, Any],
    what: str,
    changes: dict[str, Any] | None,
) -> None:
    await audit(
        connection,
        workspace_id=caller.workspace_id,
        tenant_id=None,
        actor=caller.actor,
        tag=f"webhook_endpoint:{what}",
        target_kind="webhook-endpoint",
        target_id=row["id"],
        target_key=None,
        changes=changes,
    )
