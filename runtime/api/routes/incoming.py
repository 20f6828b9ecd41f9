"""Where events come in from outside, without a token: the key in the address is the credential."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import structlog
import uuid_utils.compat
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime import clock, metrics
from runtime.actions.operations import evaluated
from runtime.api.answers import JsonAnswer
from runtime.api.app_event_posts import accept, answered
from runtime.api.body import json_body
from runtime.api.services import Services, services_of
from runtime.connectors.redaction import is_secret_name
from runtime.errors import NotFoundError, RateLimitExceededError, VesicleError
from runtime.events.app_intake import events_of
from runtime.events.app_types import find_type
from runtime.events.keys import Keyed, find_key
from runtime.events.post import Door, find_door
from runtime.events.verify import check_post, check_time
from runtime.events.webhook_log import keep_webhook, webhook_run
from runtime.tenancy import Owner, Scope

__all__ = ["router"]

log = structlog.get_logger()

router = APIRouter(tags=["webhooks"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Headers by which a post says that it is the same as an earlier one.
_POST_IDS = ("idempotency-key", "webhook-id")
_LONGEST_ID = 255


@router.post("/webhooks/app-events/{key}")
async def post_app_events(key: str, request: Request, services: ServicesHere) -> Response:
    """Take an event of the product's, or an array of them."""
    keyed = await _keyed(services, key, "app-event-")
    request.state.allow_body(services.settings.event_body)
    events = events_of(await json_body(request))
    services.rates.take(str(keyed.subject_id), len(events))
    scope = Scope.workspace(keyed.workspace_id)
    async with services.database.transaction(scope) as connection:
        type_id = keyed.subject_id
        if keyed.tenant_id is not None:
            cursor = await connection.execute(
                "SELECT type_id FROM app_event_subscriptions WHERE id = %s AND tenant_id = %s"
                " AND archived_at IS NULL",
                (keyed.subject_id, keyed.tenant_id),
            )
            row = await cursor.fetchone()
            if row is None:
                raise _unknown()
            type_id = row["type_id"]
        kind = await find_type(connection, keyed.workspace_id, type_id)
    told = await accept(
        services,
        scope,
        kind,
        events,
        named=str(keyed.tenant_id) if keyed.tenant_id else _tenant(request),
        subscription_id=keyed.subject_id if keyed.tenant_id else None,
        post_id=post_id(request),
    )
    return answered(request, told)


def post_id(request: Request) -> str | None:
    """Return what a post calls itself, None if nothing usable."""
    for name in _POST_IDS:
        text = request.headers.get(name, "").strip()
        if 0 < len(text) <= _LONGEST_ID and text.isprintable():
            return text
    return None


def _tenant(request: Request) -> str | None:
    """Return the tenant that the address names, where it holds the key of a whole type."""
    query = request.query_params
    return query.get("tenantKey") or query.get("tenantId") or query.get("userId") or None


async def _keyed(services: Services, key: str, kind: str) -> Keyed:
    """Return what a key stands for; NotFoundError for one that is not good, or for another use."""
    keyed = services.webhook_keys.get(key)
    if keyed is None:
        async with services.database.unscoped("authenticator") as connection:
            keyed = await find_key(connection, key)
        if keyed is not None:
            services.webhook_keys.put(key, keyed)
    if keyed is None or not keyed.kind.startswith(kind):
        raise _unknown()
    return keyed


def _unknown() -> NotFoundError:
    return NotFoundError("There is nothing here by that key.")


@router.post("/webhooks/external/{key}")
async def post_external(key: str, request: Request, services: ServicesHere) -> Response:
    """Take what a connected app posts: checked, kept, and answered before it is looked into."""
    keyed = await _keyed(services, key, "external-subscription")
    if keyed.tenant_id is None:
        raise _unknown()
    services.rates.take(str(keyed.subject_id))
    request.state.allow_body(services.settings.event_body)
    raw = await request.body()
    owner = Owner(keyed.workspace_id, keyed.tenant_id)
    async with services.database.transaction(Scope.proxy(owner)) as connection:
        door = await find_door(connection, services.vault, owner, keyed.subject_id)
    webhook_id = uuid_utils.compat.uuid7()
    try:
        posted = await _believed(request, door, raw)
    except VesicleError as error:
        await _refused(services, door, webhook_id, error)
        raise
    run = webhook_run(door, webhook_id)
    async with services.submission.accepting(owner, [run]) as connection:
        await keep_webhook(connection, door, webhook_id, run_id=run.id, request=posted)
    metrics.event_received("webhook", "accepted")
    return JsonAnswer({"id": str(webhook_id)})


async def _believed(request: Request, door: Door, raw: bytes) -> dict[str, Any]:
    """Return what is kept of a post; raise why it is not believed, before it is parsed."""
    event, now = door.event, clock.now()
    headers = {name.lower(): text for name, text in request.headers.items()}
    query = dict(request.query_params)
    check_post(event.verify, door.secret, headers=headers, query=query, raw=raw, now=now)
    body: Any = raw.decode("utf-8", "replace")
    if "json" in headers.get("content-type", "json"):
        body = await json_body(request)
    shown = {
        name: text
        for name, text in headers.items()
        if not is_secret_name(name) and door.secret not in text
    }
    asked = {name: text for name, text in query.items() if text != door.secret}
    posted = {"headers": shown, "query": asked, "body": body}
    if event.timestamp is not None:
        check_time(evaluated(event.timestamp, posted, "/timestamp"), event.replay_window, now)
    return posted


async def _refused(services: Services, door: Door, webhook_id: UUID, error: VesicleError) -> None:
    """Count a post that was refused, and note it, but not each one of a flood."""
    metrics.event_received("webhook", str(error.data.get("reason") or error.key or "malformed"))
    log.warning("webhook.refused", subscription=str(door.subscription_id), error=error.message)
    try:
        services.refusals.take(str(door.subscription_id))
    except RateLimitExceededError:
        return
    owner = door.owner
    scope = Scope.tenant(owner.workspace_id, owner.tenant_id)
    async with services.database.transaction(scope) as connection:
        await keep_webhook(connection, door, webhook_id, error=error.body())
