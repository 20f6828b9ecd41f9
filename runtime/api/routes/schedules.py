"""Schedules: made, listed, changed, paused, resumed, run by hand, backfilled, deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import uuid_utils.compat
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.paging import Pager, limit_of
from runtime.api.schedule_writes import (
    changes_of,
    new_schedule,
    recorded,
    resumed,
    ticks_between,
    upcoming,
)
from runtime.api.selectors import id_in_path, id_in_query, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.errors import BadRequestError
from runtime.flows.scheduled import scheduled_run
from runtime.moments import parse_moment
from runtime.schedules.manage import (
    ScheduleFilter,
    change_schedule,
    delete_schedule,
    find_schedule,
    list_schedules,
    pause_schedule,
    public_schedule,
    state_of,
)
from runtime.schedules.store import database_now, put
from runtime.schedules.ticks import OLDEST, run_id_of
from runtime.schedules.timing import spread, timing_of_text
from runtime.signals import announce_due
from runtime.tenancy import Owner

__all__ = ["router"]

router = APIRouter(tags=["schedules"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Changes a locked schedule; returns the tag of what happened and what changed, None for nothing.
_Write = Callable[
    [AsyncConnection[DictRow], DictRow], Awaitable[tuple[str, Mapping[str, Any] | None] | None]
]


@router.get("/schedules")
async def get_schedules(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List schedules: a tenant's own, or the workspace's for a manager."""
    query = query_of(request)
    pager = Pager.of(services.root, caller, "schedules")
    size = limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = ScheduleFilter(
            tenant_id=await tenant_of(connection, caller, query),
            connection_id=id_in_query(query, "connectionId"),
            flow_key=query.get("flowKey"),
            action_key=query.get("actionKey"),
            is_of_trigger=_source_of(query),
            after=pager.after(query),
            limit=size,
        )
        rows = await list_schedules(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_schedule(row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)


@router.post("/schedules")
async def post_schedule(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Start a flow or an action again and again."""
    document = await json_object(request)
    async with services.database.transaction(caller.scope) as connection:
        new = await new_schedule(connection, caller.owner, document)
        await put(connection, [new])
        row = await find_schedule(connection, caller.scope, new["id"])
        await recorded(connection, caller, row, "schedule:created", document)
    await announce_due(services.redis)
    return JsonAnswer(public_schedule(row), 201)


@router.get("/schedules/{schedule_id}")
async def get_schedule(schedule_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return a schedule."""
    return JsonAnswer(public_schedule(await _found(services, caller, schedule_id)))


@router.patch("/schedules/{schedule_id}")
async def patch_schedule(
    schedule_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Change when a schedule ticks, its name or its input."""
    document = await json_object(request)

    async def change(
        connection: AsyncConnection[DictRow], row: DictRow
    ) -> tuple[str, Mapping[str, Any] | None] | None:
        changes, standing = await changes_of(connection, row, document)
        if not changes:
            return None
        await change_schedule(connection, row["id"], changes, standing)
        return "schedule:changed", changes

    return await _write(services, caller, schedule_id, change)


@router.delete("/schedules/{schedule_id}")
async def remove_schedule(schedule_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Forget a schedule and return it as it was."""

    async def delete(
        connection: AsyncConnection[DictRow], row: DictRow
    ) -> tuple[str, Mapping[str, Any] | None]:
        if row["is_of_trigger"]:
            raise BadRequestError(
                f"This schedule is made by the trigger {row['node_key']!r} of the flow"
                f" {row['element_key']!r}, and goes with it. Pause it instead."
            )
        await delete_schedule(connection, row["id"])
        return "schedule:deleted", None

    return await _write(services, caller, schedule_id, delete)


@router.post("/schedules/{schedule_id}/pause")
async def pause(schedule_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Have a schedule tick no more until it is resumed."""

    async def write(
        connection: AsyncConnection[DictRow], row: DictRow
    ) -> tuple[str, Mapping[str, Any] | None] | None:
        if row["is_paused"]:
            return None
        await pause_schedule(connection, row["id"])
        return "schedule:paused", None

    return await _write(services, caller, schedule_id, write)


@router.post("/schedules/{schedule_id}/resume")
async def resume(schedule_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Have a paused schedule go on, from its next tick; the time between is not made up for."""

    async def write(
        connection: AsyncConnection[DictRow], row: DictRow
    ) -> tuple[str, Mapping[str, Any] | None] | None:
        if not row["is_paused"]:
            return None
        standing = await resumed(connection, row)
        await change_schedule(connection, row["id"], {"is_paused": False}, standing)
        return "schedule:resumed", None

    return await _write(services, caller, schedule_id, write)


@router.get("/schedules/{schedule_id}/next")
async def get_next(
    schedule_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """List the next ticks (`count`, 10), as they are if it is not paused or switched off."""
    query = query_of(request)
    count = limit_of({"limit": query.get("count", "10")})
    async with services.database.transaction(caller.scope) as connection:
        row = await find_schedule(connection, caller.scope, id_in_path(schedule_id, "schedule"))
        now = await database_now(connection)
    offset = _offset(row)
    items = [{"scheduledAt": tick, "dueAt": tick + offset} for tick in upcoming(row, now, count)]
    return JsonAnswer({"state": state_of(row), "items": items})


@router.post("/schedules/{schedule_id}/run")
async def run_now(schedule_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Run what a schedule starts, once and now; its ticks go on as they are."""
    row = await _usable(services, caller, schedule_id)
    async with services.database.transaction(caller.scope) as connection:
        now = await database_now(connection)
    run_id = uuid_utils.compat.uuid7()
    run = scheduled_run(row, run_id=run_id, scheduled_at=now, triggered_at=now)
    async with services.submission.accepting(_owner(row), [run]) as connection:
        await recorded(connection, caller, row, "schedule:run", {"runId": str(run_id)})
    return JsonAnswer({"runId": str(run_id), "scheduledAt": now})


@router.post("/schedules/{schedule_id}/backfill")
async def backfill(
    schedule_id: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Run the ticks between two moments that have no run yet."""
    document = await json_object(request)
    row = await _usable(services, caller, schedule_id)
    async with services.database.transaction(caller.scope) as connection:
        now = await database_now(connection)
    since, until = _span(document, now)
    ticks = ticks_between(row, since, until)
    offset = _offset(row)
    runs = {run_id_of(row["id"], tick, offset, now): tick for tick in ticks}
    async with services.database.transaction(caller.scope) as connection:
        span = {"from": since.isoformat(), "to": until.isoformat()}
        await recorded(connection, caller, row, "schedule:backfilled", span)
    made = await services.submission.submit_once(
        _owner(row),
        [
            scheduled_run(row, run_id=run_id, scheduled_at=tick, triggered_at=now)
            for run_id, tick in runs.items()
        ],
    )
    items = [
        {"runId": str(run_id), "scheduledAt": tick, "isNew": run_id in made}
        for run_id, tick in runs.items()
    ]
    return JsonAnswer({"items": items})


async def _found(services: Services, caller: Caller, schedule_id: str) -> DictRow:
    async with services.database.transaction(caller.scope) as connection:
        return await find_schedule(connection, caller.scope, id_in_path(schedule_id, "schedule"))


async def _usable(services: Services, caller: Caller, schedule_id: str) -> DictRow:
    row = await _found(services, caller, schedule_id)
    if row["obstacle"] is not None:
        raise BadRequestError(
            f"This schedule is switched off: {row['obstacle']}", data={"reason": row["obstacle"]}
        )
    return row


async def _write(services: Services, caller: Caller, schedule_id: str, write: _Write) -> Response:
    """Change a schedule, record what `write` says that happened, and tell the schedulers."""
    named = id_in_path(schedule_id, "schedule")
    async with services.database.transaction(caller.scope) as connection:
        row = await find_schedule(connection, caller.scope, named, lock=True)
        if (done := await write(connection, row)) is not None:
            tag, changes = done
            await recorded(connection, caller, row, tag, changes)
            if tag != "schedule:deleted":
                row = await find_schedule(connection, caller.scope, named)
    await announce_due(services.redis)
    return JsonAnswer(public_schedule(row))


def _owner(row: DictRow) -> Owner:
    return Owner(row["workspace_id"], row["tenant_id"])


def _offset(row: DictRow) -> timedelta:
    """Return by how much the schedule's ticks come after their nominal times."""
    return spread(timing_of_text(row["timing_text"]), row["tenant_id"], row["element_id"])


def _source_of(query: Mapping[str, str]) -> bool | None:
    if "source" not in query:
        return None
    if query["source"] not in ("api", "flow-trigger"):
        raise BadRequestError(
            "source is api or flow-trigger.",
            data={"errors": [{"path": "/source", "message": "is neither"}]},
        )
    return query["source"] == "flow-trigger"


def _span(document: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when a backfill goes: within the last 28 days, in this order."""
    unknown = sorted(set(document) - {"from", "to"})
    if unknown:
        raise _refused(unknown[0], "is no part of a backfill; it has from and to")
    moments: dict[str, datetime] = {}
    for name in ("from", "to"):
        text = document.get(name)
        moment = parse_moment(text, name) if isinstance(text, str) else None
        if moment is None:
            raise _refused(name, "is missing, or no moment such as 2026-01-31T12:00:00Z")
        moments[name] = moment
    since, until = moments["from"], moments["to"]
    if until > now:
        raise _refused("to", "lies ahead; those ticks will come by themselves")
    if since > until:
        raise _refused("from", "is after `to`")
    if since < now - OLDEST + timedelta(minutes=1):
        raise _refused("from", f"is more than {OLDEST.days} days ago")
    return since, until


def _refused(name: str, message: str) -> BadRequestError:
    return BadRequestError(
        f"The backfill is not valid: /{name[:60]}: {message}",
        data={"errors": [{"path": f"/{name[:60]}", "message": message}]},
    )
