"""What happens, while it happens: streams of Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from runtime.activity.read import ActivityFilter, public_activity
from runtime.api.activity_filters import find_places, narrowed
from runtime.api.event_stream import EventStream, event
from runtime.api.live_caller import LiveCaller, Watcher
from runtime.api.selectors import id_in_path, query_of
from runtime.clock import now
from runtime.errors import BadRequestError, NotFoundError
from runtime.flows.read import find_flow_run
from runtime.live.activity import follow_activity
from runtime.live.elements import follow_elements
from runtime.live.flow_runs import follow_flow_run
from runtime.moments import parse_moment

__all__ = ["router"]

router = APIRouter(tags=["live"])


@router.get("/flow-runs/{run_id}/live")
async def watch_flow_run(run_id: str, request: Request, watcher: LiveCaller) -> Response:
    """Follow a flow run: `run` and `node` events as they change, and `end` when it has ended."""
    wanted, services = id_in_path(run_id, "flow run"), watcher.services
    since = parse_moment(_last_id(request), "Last-Event-ID")
    async with services.database.transaction(watcher.caller.scope) as connection:
        if await find_flow_run(connection, wanted) is None:
            raise NotFoundError(f"There is no flow run {wanted}.")
    return _stream(watcher, _of_flow_run(watcher, wanted, since))


@router.get("/activity/live")
async def watch_activity(request: Request, watcher: LiveCaller) -> Response:
    """Follow activity as it is recorded, by the filters of `/activity` but for its times.

    With `Last-Event-ID` (or `after`), what was missed since that record comes first.
    """
    query = query_of(request)
    services, caller = watcher.services, watcher.caller
    spot = await find_places(services, caller, query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = await narrowed(connection, caller, query, spot)
    return _stream(watcher, _of_activity(watcher, wanted, _last_record(request)))


@router.get("/sse/workspace")
async def watch_workspace(watcher: LiveCaller) -> Response:
    """Follow the workspace's elements: `{type: "element-update", elementType, elementId}`."""
    return _stream(watcher, _of_workspace(watcher))


async def _of_flow_run(
    watcher: Watcher, run_id: UUID, since: datetime | None
) -> AsyncGenerator[bytes, None]:
    services = watcher.services
    changes = follow_flow_run(
        services.database,
        services.hub,
        services.waiters,
        watcher.caller.scope,
        run_id,
        since=since,
    )
    async with aclosing(changes):
        async for name, shown, moment in changes:
            yield event(shown, name=name, id=moment.isoformat())
    # An EventSource opens a stream anew that just ends.
    yield event({"type": "end", "flowRunId": str(run_id)}, name="end")


async def _of_activity(
    watcher: Watcher, wanted: ActivityFilter, after: UUID | None
) -> AsyncGenerator[bytes, None]:
    services = watcher.services
    records = follow_activity(
        services.database, services.tails, watcher.caller.scope, wanted, after=after
    )
    async with aclosing(records):
        async for row in records:
            if row is None:
                yield event({"type": "connected", "timestamp": now()}, name="connected")
            else:
                yield event(public_activity(row), name="activity", id=str(row["id"]))


async def _of_workspace(watcher: Watcher) -> AsyncGenerator[bytes, None]:
    services = watcher.services
    changes = follow_elements(services.database, services.tails, watcher.caller.scope)
    async with aclosing(changes):
        async for change in changes:
            if change is None:
                yield event({"type": "connected", "message": "Connected.", "timestamp": now()})
            else:
                named = {"elementType": change[0], "elementId": change[1]}
                yield event({"type": "element-update", **named})


def _stream(watcher: Watcher, events: AsyncGenerator[bytes, None]) -> Response:
    admitted = watcher.services.hub.admit(watcher.caller.scope)
    return EventStream(events, until=watcher.over, closed=admitted.close)


def _last_id(request: Request) -> str | None:
    return request.headers.get("last-event-id") or request.query_params.get("after")


def _last_record(request: Request) -> UUID | None:
    text = _last_id(request)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadRequestError(
            "Last-Event-ID is the id of an activity record.",
            data={"errors": [{"path": "/after", "message": "is no id"}]},
        ) from None
