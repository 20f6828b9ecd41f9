"""What callers say about schedules, and what that means: what is started, when, with what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from runtime.actions.schema import check_input
from runtime.actions.target import Selection, Target, find_target
from runtime.activity.audit import audit
from runtime.api.caller import Caller
from runtime.errors import BadRequestError
from runtime.flows.control import checked_input
from runtime.flows.definition import start_node
from runtime.schedules.manage import public_schedule
from runtime.schedules.store import Standing, database_now, standing_at
from runtime.schedules.timing import (
    HOW_OFTEN,
    TIMING_FIELDS,
    Timing,
    first_due,
    next_after,
    timing_of,
    timing_of_text,
)
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["changes_of", "new_schedule", "recorded", "resumed", "ticks_between", "upcoming"]

#: Ticks that one backfill may run, and one answer may list.
MOST_TICKS = 1000
#: What an action or flow is checked with that gets the times of its tick.
_SOME_TIMES = {"triggeredAt": "2026-01-01T00:00:00.000Z", "scheduledAt": "2026-01-01T00:00:00.000Z"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


class _New(_Body):
    """What a new schedule starts; its times are read by themselves."""

    flow_key: str | None = None
    flow_id: str | None = None
    action_key: str | None = None
    action_id: str | None = None
    node_key: str | None = None
    start_node_key: str | None = None
    integration_key: str | None = None
    integration_id: str | None = None
    connection_key: str | None = None
    connection_id: str | None = None
    instance_key: str | None = None
    name: str | None = Field(default=None, max_length=200)
    input: Any = None

    @model_validator(mode="after")
    def _starts_one_thing(self) -> Self:
        flow, action = self.flow_id or self.flow_key, self.action_id or self.action_key
        if (flow is None) == (action is None):
            raise ValueError("name what is started: flowKey, flowId, actionKey or actionId")
        return self

    @property
    def selection(self) -> Selection:
        flow = self.flow_id or self.flow_key
        return Selection(
            action=flow or self.action_id or self.action_key,
            kind="flow" if flow else "action",
            integration=self.integration_id or self.integration_key,
            connection=self.connection_id or self.connection_key,
            instance=self.instance_key,
        )


class _Change(_Body):
    """What can change about a schedule besides its times."""

    name: str | None = Field(default=None, max_length=200)
    input: Any = None


async def new_schedule(
    connection: AsyncConnection[DictRow], owner: Owner, document: dict[str, Any]
) -> dict[str, Any]:
    """Return the row of a schedule that a caller describes.

    Raises what is wrong with it: BadRequestError with the path, and what starting it would raise.
    """
    times, rest = _divided(document)
    body = parse(_New, rest, BadRequestError, "The schedule")
    timing = timing_of(times, BadRequestError)
    target = await find_target(connection, owner, body.selection)
    now = await database_now(connection)
    node, given = _started(
        body.selection.kind, target, body.start_node_key or body.node_key, body.input
    )
    assert target.element_id is not None  # noqa: S101 - what is named has an id
    standing = standing_at(
        timing, now, anchor=now, tenant_id=owner.tenant_id, element_id=target.element_id
    )
    if standing.nominal_at is None:
        raise _no_tick()
    return {
        "id": uuid_utils.compat.uuid7(),
        "workspace_id": owner.workspace_id,
        "tenant_id": owner.tenant_id,
        "is_of_trigger": False,
        "name": body.name,
        "kind": body.selection.kind,
        "element_id": target.element_id,
        "element_key": target.element_key,
        "node_key": node,
        "integration_id": target.integration_id,
        "connection_id": target.connection.id if target.connection else None,
        "instance_key": target.instance_key,
        "timing": times,
        "input": given,
        "nominal_at": standing.nominal_at,
        "next_at": standing.next_at,
    }


async def changes_of(
    connection: AsyncConnection[DictRow], row: DictRow, document: dict[str, Any]
) -> tuple[dict[str, Any], Standing | None]:
    """Return the columns that a patch changes, and where the schedule stands if it moves."""
    if row["is_of_trigger"]:
        raise BadRequestError(
            f"This schedule is made by the trigger {row['node_key']!r} of the flow"
            f" {row['element_key']!r}. Customise the flow to change it"
            f" (PATCH /flows/{row['element_key']}); it can be paused here."
        )
    times, rest = _divided(document)
    _refuse_moves(row, rest)
    body = parse(_Change, rest, BadRequestError, "The schedule")
    changes: dict[str, Any] = {}
    if "name" in body.model_fields_set and body.name != row["name"]:
        changes["name"] = body.name
    if "input" in body.model_fields_set and body.input != row["input"]:
        changes["input"] = await _input_of(connection, row, body.input)
    merged = _merged(row["timing"], times)
    timing = timing_of(merged, BadRequestError)
    if merged == row["timing"]:
        return changes, None
    changes["timing"] = merged
    standing = await _standing(connection, row, timing)
    if standing.nominal_at is None:
        raise _no_tick()
    return changes, None if row["is_paused"] or row["obstacle"] else standing


async def resumed(connection: AsyncConnection[DictRow], row: DictRow) -> Standing:
    """Return where a schedule stands that goes on from now."""
    if row["obstacle"] is not None:
        return Standing(None, None)
    return await _standing(connection, row, timing_of_text(row["timing_text"]))


def upcoming(row: DictRow, now: datetime, count: int) -> list[datetime]:
    """Return the nominal times of the ticks that come next."""
    timing, found = timing_of_text(row["timing_text"]), list[datetime]()
    tick = next_after(timing, now, row["created_at"])
    while tick is not None and len(found) < count:
        found.append(tick)
        tick = next_after(timing, tick, row["created_at"])
    return found


def ticks_between(row: DictRow, since: datetime, until: datetime) -> list[datetime]:
    """Return the nominal times from one moment to another; BadRequestError if they are many."""
    timing, found = timing_of_text(row["timing_text"]), list[datetime]()
    # Intervals are counted from when the schedule was made, and reach back from there.
    anchor: datetime = row["created_at"]
    if timing.interval is not None and timing.start is None and since <= anchor:
        anchor -= ((anchor - since) // timing.interval + 2) * timing.interval
    tick = first_due(timing, since, anchor)
    while tick is not None and tick <= until:
        if len(found) == MOST_TICKS:
            raise BadRequestError(
                f"There are more than {MOST_TICKS} ticks from then to then; backfill in parts.",
                data={"errors": [{"path": "/to", "message": "is too far from `from`"}]},
            )
        found.append(tick)
        tick = next_after(timing, tick, anchor)
    return found


async def recorded(
    connection: AsyncConnection[DictRow],
    caller: Caller,
    row: Mapping[str, Any],
    tag: str,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Put on record what was done to a schedule."""
    await audit(
        connection,
        workspace_id=caller.workspace_id,
        tenant_id=row["tenant_id"],
        actor=caller.actor,
        tag=tag,
        target_kind="schedule",
        target_id=row["id"],
        target_key=row["element_key"],
        # An input may hold what is nobody else's business; that it changed is enough.
        changes={**changes, "input": "changed"} if changes and "input" in changes else changes,  # type: ignore[arg-type]
    )


def _divided(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    times = {name: value for name, value in document.items() if name in TIMING_FIELDS}
    return times, {name: value for name, value in document.items() if name not in TIMING_FIELDS}


def _merged(before: Mapping[str, Any], times: Mapping[str, Any]) -> dict[str, Any]:
    """Return times after a patch: null takes away, and a new cron or interval replaces the old."""
    merged = {**before, **times}
    if any(times.get(name) is not None for name in HOW_OFTEN):
        merged |= {name: None for name in HOW_OFTEN if name not in times}
    return {name: value for name, value in merged.items() if value is not None}


#: What places a schedule, and what is not to be said of one again.
_FIXED = frozenset(to_camel(name) for name in _New.model_fields) - {"name", "input"}
#: What a schedule shows and nobody sets; a body may carry it along.
_SHOWN = frozenset(
    (
        *("id", "tenantId", "source", "state", "reason", "nextAt", "nextScheduledAt"),
        *("lastScheduledAt", "lastRunId", "runCount", "lastSkippedAt", "lastSkippedReason"),
        *("skippedCount", "revision", "createdAt", "updatedAt"),
    )
)


def _refuse_moves(row: DictRow, rest: dict[str, Any]) -> None:
    """Raise BadRequestError for what would make another schedule of it; drop what is only shown."""
    shown = public_schedule(row)
    for name in [*rest]:
        if name in _SHOWN or (name in _FIXED and name in shown and rest[name] == shown[name]):
            del rest[name]
        elif name in _FIXED:
            message = "stays as it is; delete the schedule and make another"
            raise BadRequestError(
                f"The schedule is not valid: /{name}: {message}",
                data={"errors": [{"path": f"/{name}", "message": message}]},
            )


def _started(kind: str, target: Target, node_key: str | None, given: Any) -> tuple[str | None, Any]:
    """Return the trigger at which a flow starts, and the input, checked."""
    if kind == "action":
        schema = target.action.input_schema
        given = {} if given is None else given
        return None, given if schema is None else check_input(schema, given)
    start = start_node(target.action, node_key)
    checked = checked_input(target.action.nodes[start], _SOME_TIMES if given is None else given)
    return start, None if given is None else checked


async def _input_of(connection: AsyncConnection[DictRow], row: DictRow, given: Any) -> Any:
    selection = Selection(
        action=str(row["element_id"]),
        kind=row["kind"],
        integration=str(row["integration_id"]) if row["integration_id"] else None,
        connection=str(row["connection_id"]) if row["connection_id"] else None,
        instance=row["instance_key"],
    )
    owner = Owner(row["workspace_id"], row["tenant_id"])
    target = await find_target(connection, owner, selection)
    return _started(row["kind"], target, row["node_key"], given)[1]


async def _standing(connection: AsyncConnection[DictRow], row: DictRow, timing: Timing) -> Standing:
    tenant: UUID = row["tenant_id"]
    now = await database_now(connection)
    return standing_at(
        timing, now, anchor=row["created_at"], tenant_id=tenant, element_id=row["element_id"]
    )


def _no_tick() -> BadRequestError:
    message = "there is no tick left to come"
    return BadRequestError(
        f"The schedule is not valid: /endAt: {message}",
        data={"errors": [{"path": "/endAt", "message": message}]},
    )
