"""What happens in connected apps: subscriptions to it, and the logs of what was heard."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import uuid_utils.compat
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.errors import recorded
from runtime.api.event_lists import Listing, page_of_events
from runtime.api.running import wait_for
from runtime.api.selectors import id_in_path
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, NotFoundError
from runtime.events.addresses import external_uri
from runtime.events.asking import insert_pull, pull_run, refuse_useless, setup_run
from runtime.events.keys import key_subject, show_key
from runtime.events.log import find_logged, public_event
from runtime.events.subscriptions import (
    find_subscription,
    list_subscriptions,
    public_subscription,
)
from runtime.events.webhook_log import (
    find_pull,
    find_webhook,
    list_rows,
    public_pull,
    public_webhook,
)
from runtime.tenancy import Owner, Scope
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["external events"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Seconds that an answer waits for the app to be asked.
_WAIT = 30.0
_ONE = "/external-event-subscriptions/{subscription}"
_WHAT = "external event subscription"


class _PullBody(BaseModel):
    """Whether to look at everything, where what is new would do."""

    model_config = ConfigDict(extra="forbid")

    isFullScan: bool = False  # noqa: N815 - the name on the wire


@router.get("/external-event-subscriptions")
async def get_subscriptions(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """List subscriptions: a tenant's own, or the workspace's for a manager."""
    asked = Listing.of(request, caller, services, "external-subscriptions", status="status")
    if asked.is_empty:
        return JsonAnswer({"items": []})
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_subscriptions(
            connection, caller.workspace_id, asked.wanted, after=asked.before, limit=asked.limit
        )
    shown = [await _public(services, row) for row in rows[: asked.limit]]
    return asked.answer(rows, shown)


@router.get(_ONE)
async def get_subscription(
    subscription: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return a subscription."""
    return JsonAnswer(await _public(services, await _found(services, caller, subscription)))


@router.post(f"{_ONE}/setup")
async def setup(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Bring the connection's subscriptions to what its flows want now."""
    return await _done(request, services, caller, subscription, "reconcile")


@router.post(f"{_ONE}/subscribe")
async def subscribe(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Ask the app to tell, or begin to look."""
    return await _done(request, services, caller, subscription, "subscribe")


@router.post(f"{_ONE}/unsubscribe")
async def unsubscribe(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Hear nothing more until somebody subscribes again, whatever the flows want."""
    return await _done(request, services, caller, subscription, "unsubscribe")


@router.post(f"{_ONE}/resubscribe")
async def resubscribe(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Unsubscribe and subscribe; what is looked at is looked at anew, from what it is now."""
    return await _done(request, services, caller, subscription, "resubscribe")


@router.post(f"{_ONE}/refresh-webhook")
async def refresh_webhook(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Ask the app to go on telling."""
    return await _done(request, services, caller, subscription, "refresh")


@router.post(f"{_ONE}/pull-events")
async def pull_events(
    subscription: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Look for what changed now; `isFullScan` looks at everything. The answer is the pull."""
    body = parse(_PullBody, await json_object(request), BadRequestError, "the body")
    row = await _found(services, caller, subscription)
    refuse_useless(row)
    pull_id = uuid_utils.compat.uuid7()
    run = pull_run(row, pull_id)
    owner = Owner(row["workspace_id"], row["tenant_id"])
    async with services.submission.accepting(owner, [run]) as connection:
        await insert_pull(connection, row, run, full=body.isFullScan)
    return await _shown_pull(services, caller, pull_id)


@router.get("/external-event-log-records")
async def get_events(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List what happened in connected apps, the newest first, each with the runs it started."""
    asked = Listing.of(
        request,
        caller,
        services,
        "external-events",
        externalEventSubscriptionId="subject_id",
        status="status",
    )
    return await page_of_events(services, asked, "external")


@router.get("/external-event-log-records/{event_id}")
@router.get("/external-event-log-records/{event_id}/details")
async def get_event(event_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return an event of a connected app."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_logged(connection, "external", id_in_path(event_id, "external event"))
    if row is None:
        raise NotFoundError(f"There is no external event {event_id}.")
    return JsonAnswer(public_event(row))


@router.get("/incoming-webhooks")
async def get_webhooks(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List what apps posted, the newest first; what was refused is there with the reason."""
    return await _list(request, caller, services, "incoming_webhooks")


@router.get("/incoming-webhooks/{webhook_id}")
async def get_webhook(webhook_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a post."""
    return JsonAnswer(public_webhook(await _webhook(services, caller, webhook_id)))


@router.get("/incoming-webhooks/{webhook_id}/details")
async def get_webhook_details(
    webhook_id: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return a post with its headers and body, without what is secret."""
    row = await _webhook(services, caller, webhook_id)
    return JsonAnswer({**public_webhook(row), "request": row["request"]})


@router.get("/external-event-pulls")
async def get_pulls(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List looks at connected apps, the newest first."""
    return await _list(request, caller, services, "external_pulls")


@router.get("/external-event-pulls/{pull_id}")
async def get_pull(pull_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a look at a connected app."""
    return await _shown_pull(services, caller, id_in_path(pull_id, "pull"))


async def _list(request: Request, caller: Caller, services: Services, table: str) -> Response:
    asked = Listing.of(
        request,
        caller,
        services,
        table,
        subscriptionId="subscription_id",
        externalEventSubscriptionId="subscription_id",
        status="status",
    )
    if asked.is_empty:
        return JsonAnswer({"items": []})
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_rows(
            connection,
            table,
            caller.workspace_id,
            asked.wanted,
            before=asked.before,
            span=asked.span,
            limit=asked.limit,
        )
    public = public_pull if table == "external_pulls" else public_webhook
    return asked.answer(rows, [public(row) for row in rows])


async def _done(
    request: Request, services: Services, caller: Caller, subscription: str, what: str
) -> Response:
    """Have a worker do something with a subscription, and return it as it is then."""
    row = await _found(services, caller, subscription)
    if what != "reconcile":
        refuse_useless(row)
    run = setup_run(row, what)
    await services.submission.submit_made(Owner(row["workspace_id"], row["tenant_id"]), [run])
    ended = await wait_for(services, caller, run.id, _WAIT)
    if ended["status"] in ("failed", "stopped"):
        return recorded(request, ended["error"] or {}, runId=str(run.id))
    return JsonAnswer(await _public(services, await _found(services, caller, subscription)))


async def _found(services: Services, caller: Caller, subscription: str) -> DictRow:
    async with services.database.transaction(caller.scope) as connection:
        return await find_subscription(connection, id_in_path(subscription, _WHAT))


async def _public(services: Services, row: DictRow) -> dict[str, Any]:
    uri = None
    if row["is_real_time"]:
        owner = Owner(row["workspace_id"], row["tenant_id"])
        subject = key_subject(owner.workspace_id, owner.tenant_id, row["id"])
        async with services.database.transaction(Scope.proxy(owner)) as connection:
            key = await show_key(connection, services.vault, subject)
        uri = external_uri(services.settings, key) if key else None
    return public_subscription(row, uri)


async def _webhook(services: Services, caller: Caller, webhook_id: str) -> DictRow:
    async with services.database.transaction(caller.scope) as connection:
        row = await find_webhook(connection, id_in_path(webhook_id, "incoming webhook"))
    if row is None:
        raise NotFoundError(f"There is no incoming webhook {webhook_id}.")
    return row


async def _shown_pull(services: Services, caller: Caller, pull_id: UUID) -> Response:
    async with services.database.transaction(caller.scope) as connection:
        row = await find_pull(connection, pull_id)
    if row is None:
        raise NotFoundError(f"There is no pull {pull_id}.")
    return JsonAnswer(public_pull(row))
