"""What happened in the product: told by its backend, listed with the flow runs it started."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.app_event_posts import accept, answered
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, ManagerCaller
from runtime.api.event_lists import Listing, page_of_events
from runtime.api.routes.incoming import post_id
from runtime.api.selectors import id_in_path
from runtime.api.services import Services, services_of
from runtime.errors import AccessDeniedError, BadRequestError, NotFoundError
from runtime.events.addresses import app_event_uri
from runtime.events.app_intake import events_of
from runtime.events.app_types import find_type
from runtime.events.keys import add_key, key_subject
from runtime.events.log import find_logged, public_event
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["app events"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class _Post(_Body):
    """One event or many of a type, by its key or id."""

    type: str = Field(min_length=1, max_length=400)
    event: dict[str, Any] | None = None
    events: list[dict[str, Any]] | None = None
    #: A manager may say whose events these are; else the type's formula does.
    tenant_key: str | None = Field(default=None, min_length=1, max_length=400)
    tenant_id: str | None = Field(default=None, min_length=1, max_length=400)


class _Rotation(_Body):
    """For how long the old key stays good."""

    overlap_seconds: float = Field(default=3600.0, ge=0, le=2_592_000)


@router.post("/app-events")
async def post_app_events(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Tell what happened: `{type, event}` or `{type, events}`; takes an `Idempotency-Key`."""
    request.state.allow_body(services.settings.event_body)
    body = parse(_Post, await json_object(request), BadRequestError, "the body")
    if (body.event is None) == (body.events is None):
        raise BadRequestError("Give event or events.", data={"path": "/event"})
    events = events_of(body.event if body.event is not None else body.events)
    async with services.database.transaction(caller.scope) as connection:
        kind = await find_type(connection, caller.workspace_id, body.type)
    told = await accept(
        services, caller.scope, kind, events, named=_tenant(caller, body), post_id=post_id(request)
    )
    return answered(request, told)


@router.get("/app-events")
async def get_app_events(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List app events, the newest first, each with the flow runs that it started."""
    asked = Listing.of(
        request, caller, services, "app-events", appEventTypeId="subject_id", status="status"
    )
    return await page_of_events(services, asked, "app")


@router.get("/app-events/{event_id}")
async def get_app_event(event_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return an app event."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_logged(connection, "app", id_in_path(event_id, "app event"))
    if row is None:
        raise NotFoundError(f"There is no app event {event_id}.")
    return JsonAnswer(public_event(row))


@router.post("/app-event-types/{selector}/rotate-webhook-key")
async def rotate_key(
    selector: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Make a new key; the old one stays good for `overlapSeconds`, an hour by default."""
    body = parse(_Rotation, await json_object(request), BadRequestError, "the body")
    async with services.database.transaction(caller.scope) as connection:
        kind = await find_type(connection, caller.workspace_id, selector)
        subject = key_subject(caller.workspace_id, None, kind.id)
        overlap = body.overlap_seconds
        key = await add_key(connection, services.vault, subject, "app-event-type", overlap=overlap)
        await audit(
            connection,
            workspace_id=caller.workspace_id,
            tenant_id=None,
            actor=caller.actor,
            tag="app-event-type:key_rotated",
            target_kind="app-event-type",
            target_id=kind.id,
            target_key=kind.key,
            changes=None,
        )
    return JsonAnswer(
        {"webhookKey": key, "globalWebhookUri": app_event_uri(services.settings, key)}
    )


def _tenant(caller: Caller, body: _Post) -> str | None:
    named = body.tenant_key or body.tenant_id
    if caller.tenant_id is None:
        return named
    if named not in (None, caller.tenant_key, str(caller.tenant_id)):
        raise AccessDeniedError("A tenant's token tells that tenant's own events only.")
    return str(caller.tenant_id)
