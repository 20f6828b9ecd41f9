"""Accepts app events that were posted: kept, and sent to be seen to, tenant by tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from runtime import metrics
from runtime.api.answers import JsonAnswer
from runtime.api.errors import answer
from runtime.api.services import Services
from runtime.errors import VesicleError
from runtime.events.app_intake import Told, by_owner, launch_run, sort_out
from runtime.events.app_types import AppEventType
from runtime.events.log import NewEvent, Place, keep_events
from runtime.tenancy import Owner, Scope

__all__ = ["accept", "answered"]


async def accept(
    services: Services,
    scope: Scope,
    kind: AppEventType,
    events: Sequence[Any],
    *,
    named: str | None,
    subscription_id: UUID | None = None,
    post_id: str | None = None,
) -> list[Told]:
    """Keep events, of the tenant that is `named` or else of the one that each says.

    `scope` sees the tenants in question. With a `post_id`, a post that is repeated is known again.
    """
    async with services.database.transaction(scope) as connection:
        told = await sort_out(
            connection,
            scope.workspace_id,
            kind,
            events,
            named=named,
            largest=services.settings.event_size,
        )
    keys = {id(each): f"{post_id}:{at}" for at, each in enumerate(told)} if post_id else {}
    place = Place("app", kind.id, subscription_id)
    for owner, group in by_owner(told).items():
        new = [NewEvent(each.event, keys.get(id(each))) for each in group]
        try:
            kept = await _keep(services, owner, place, new)
        except VesicleError as error:
            for each in group:
                each.error = error
            continue
        for each, (event_id, is_new) in zip(group, kept, strict=True):
            each.id, each.is_repeat = event_id, not is_new
    for each in told:
        metrics.event_received("app", "refused" if each.error else "accepted")
    return told


async def _keep(
    services: Services, owner: Owner, place: Place, events: Sequence[NewEvent]
) -> list[tuple[UUID, bool]]:
    run = launch_run()
    async with services.submission.accepting(owner, [run]) as connection:
        return await keep_events(connection, owner, place, events, run.id)


def answered(request: Request, told: Sequence[Told]) -> Response:
    """Return what became of each event; if none was accepted, the first one's error."""
    results = [each.answer() for each in told]
    errors = [each.error for each in told if each.error is not None]
    if errors and len(errors) == len(told):
        return answer(request, errors[0], events=results)
    return JsonAnswer({"events": results})
