"""A tenant's own addresses for app events: list, show, subscribe, take away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.actions.target import Selection
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.element_writes import viewer_of
from runtime.api.errors import recorded
from runtime.api.event_lists import Listing
from runtime.api.running import wait_for
from runtime.api.selectors import id_in_path, named, query_of
from runtime.api.services import Services, services_of
from runtime.api.webhook_addresses import key_of
from runtime.clock import now
from runtime.config.places import find_spot
from runtime.errors import AlreadyExistsError, BadRequestError
from runtime.events.addresses import app_event_uri
from runtime.events.app_subscriptions import (
    archive_subscription,
    ensure_subscription,
    find_subscription,
    list_subscriptions,
    note_subscribed,
    public_subscription,
    restore_subscription,
    subscribe_action,
)
from runtime.events.app_types import find_type
from runtime.events.keys import key_subject
from runtime.moments import uuid_moment
from runtime.submission import RunRequest
from runtime.tenancy import Owner, Scope

__all__ = ["router"]

router = APIRouter(tags=["app events"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Seconds that an answer waits for the product to be told.
_WAIT = 30.0
_LONGEST_KEY = 200


@router.get("/app-event-subscriptions")
async def get_subscriptions(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """List subscriptions: a tenant's own, or the workspace's for a manager."""
    asked = Listing.of(
        request, caller, services, "app-event-subscriptions", appEventTypeId="type_id"
    )
    if asked.is_empty:
        return JsonAnswer({"items": []})
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_subscriptions(
            connection, caller.workspace_id, asked.wanted, after=asked.before, limit=asked.limit
        )
    shown = [await _public(services, row) for row in rows[: asked.limit]]
    return asked.answer(rows, shown)


@router.get("/app-event-subscription")
async def get_selected(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return the subscription that the query names: by id, or by type and `instanceKey`."""
    return await _shown(services, caller, await _selected(request, caller, services))


@router.post("/app-event-subscription")
async def create_selected(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Make the subscription that the query names; 409 if there is one already."""
    _refuse_members(await json_object(request))
    # Ids tell when they were made, in milliseconds and by this process's own clock.
    before = now() - timedelta(milliseconds=1)
    found = await _selected(request, caller, services)
    async with services.database.transaction(caller.scope) as connection:
        row = await find_subscription(connection, found)
    if "id" in request.query_params or uuid_moment(row["id"]) < before:
        raise AlreadyExistsError(
            "There is this subscription already; give another instanceKey for a second one.",
            data={"errors": [{"path": "/instanceKey", "message": "is taken"}]},
        )
    return JsonAnswer(await _public(services, row), 201)


@router.put("/app-event-subscription")
@router.patch("/app-event-subscription")
async def change_selected(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return the subscription that the query names; nothing of it can be changed."""
    _refuse_members(await json_object(request))
    return await _shown(services, caller, await _selected(request, caller, services))


@router.post("/app-event-subscription/restore")
async def restore_selected(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Bring a subscription back, with another address; subscribe again to tell the product."""
    query = query_of(request)
    return await _restored(services, caller, query.get("id", ""))


@router.post("/app-event-subscriptions/{subscription}/restore")
async def restore(subscription: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Bring a subscription back, with another address; subscribe again to tell the product."""
    return await _restored(services, caller, subscription)


@router.post("/app-event-subscription/subscribe")
async def subscribe_selected(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Tell the product where to post a tenant's events of a type."""
    found = await _selected(request, caller, services)
    return await _subscribe(request, services, caller, found)


@router.delete("/app-event-subscription")
async def remove_selected(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Close a subscription's address."""
    return await _remove(services, caller, await _selected(request, caller, services))


@router.get("/app-event-subscriptions/{subscription}")
async def get_one(subscription: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a subscription."""
    return await _shown(services, caller, id_in_path(subscription, "app event subscription"))


@router.post("/app-event-subscriptions/{subscription}/subscribe")
async def subscribe(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Tell the product where to post this tenant's events."""
    found = id_in_path(subscription, "app event subscription")
    return await _subscribe(request, services, caller, found)


@router.delete("/app-event-subscriptions/{subscription}")
async def remove(subscription: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Close a subscription's address."""
    found = id_in_path(subscription, "app event subscription")
    return await _remove(services, caller, found)


async def _restored(services: Services, caller: Caller, subscription: str) -> Response:
    found = id_in_path(subscription, "app event subscription")
    async with services.database.transaction(caller.scope) as connection:
        await find_subscription(connection, found)
        await restore_subscription(connection, found)
    return await _shown(services, caller, found)


def _refuse_members(body: Mapping[str, Any]) -> None:
    """What a subscription is, its selector says; a body has nothing to add."""
    for name in body:
        raise BadRequestError(
            f"Of a subscription {name[:60]!r} cannot be said.",
            data={"errors": [{"path": f"/{name[:60]}", "message": "cannot be said"}]},
        )


async def _selected(request: Request, caller: Caller, services: Services) -> UUID:
    """Return the subscription that a query names; a type's is made for the tenant when asked for.

    A manager says whose by tenantId or tenantKey.
    """
    query = query_of(request)
    if "id" in query:
        return id_in_path(query["id"], "app event subscription")
    selector = query.get("appEventTypeId") or query.get("appEventTypeKey") or query.get("parentKey")
    instance = query.get("instanceKey")
    if selector is None or len(instance or "") > _LONGEST_KEY:
        raise BadRequestError(
            "Name the subscription: give id, or appEventTypeKey and perhaps instanceKey.",
            data={"errors": [{"path": "/appEventTypeKey", "message": "is missing"}]},
        )
    async with services.database.session(caller.scope) as session:
        spot = await find_spot(session, viewer_of(caller), named(query))
    if spot.viewer.tenant_id is None:
        raise BadRequestError(
            "Say whose subscription: give tenantId or tenantKey.",
            data={"errors": [{"path": "/tenantId", "message": "is missing"}]},
        )
    owner = Owner(caller.workspace_id, spot.viewer.tenant_id)
    async with services.database.transaction(caller.scope) as connection:
        kind = await find_type(connection, caller.workspace_id, selector)
        return await ensure_subscription(connection, owner, kind, instance)


async def _subscribe(
    request: Request, services: Services, caller: Caller, subscription_id: UUID
) -> Response:
    async with services.database.transaction(caller.scope) as connection:
        row = await find_subscription(connection, subscription_id)
        kind = await find_type(connection, caller.workspace_id, row["type_id"])
    action, answer = subscribe_action(kind), None
    if action is not None:
        uri = await _uri(services, row)
        given = {"webhookUri": uri, "instanceKey": row["instance_key"]}
        wanted = RunRequest(Selection(inline=action), given, queue="sync")
        owner = Owner(row["workspace_id"], row["tenant_id"])
        accepted = await services.submission.submit(owner, wanted)
        ended = await wait_for(services, caller, accepted.run_id, _WAIT)
        if ended["status"] != "completed":
            error = ended["error"] or {
                "type": "action_run",
                "message": "The product has not answered yet; look at the run.",
            }
            return recorded(request, error, runId=str(accepted.run_id))
        answer = ended["output"]
    async with services.database.transaction(caller.scope) as connection:
        told = action["config"]["request"] if action else None
        await note_subscribed(connection, subscription_id, told, answer)
    return await _shown(services, caller, subscription_id)


async def _remove(services: Services, caller: Caller, subscription_id: UUID) -> Response:
    async with services.database.transaction(caller.scope) as connection:
        await find_subscription(connection, subscription_id)
        await archive_subscription(connection, subscription_id)
    return await _shown(services, caller, subscription_id)


async def _shown(services: Services, caller: Caller, subscription_id: UUID) -> Response:
    async with services.database.transaction(caller.scope) as connection:
        row = await find_subscription(connection, subscription_id)
    return JsonAnswer(await _public(services, row))


async def _public(services: Services, row: DictRow) -> dict[str, Any]:
    uri = None if row["archived_at"] else await _uri(services, row)
    return public_subscription(row, uri)


async def _uri(services: Services, row: DictRow) -> str:
    owner = Owner(row["workspace_id"], row["tenant_id"])
    subject = key_subject(owner.workspace_id, owner.tenant_id, row["id"])
    writing = Scope.tenant(owner.workspace_id, owner.tenant_id)
    key = await key_of(services, Scope.proxy(owner), writing, subject, "app-event-subscription")
    return app_event_uri(services.settings, key)
