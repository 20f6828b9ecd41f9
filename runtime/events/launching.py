"""Starts the flow runs of events: one for each event and live trigger, and never a second one.

A run, its launch and what is left to do are written in one transaction, a bounded number at a time.
So whoever takes this over goes on behind what is committed; and since a launch is unique and the
run's id follows from event and trigger, two who do it at once start nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.errors import VesicleError
from runtime.events.listeners import Listener, app_listeners, external_listeners
from runtime.flows.launch import launched
from runtime.runs.accept import insert_runs, mark_unsent
from runtime.runs.sending import outgoing
from runtime.runs.states import Claim, NewRun
from runtime.tenancy import Owner, Scope

__all__ = ["Launching", "run_id_of"]

#: Events that are looked at, and runs that are started, in one transaction.
_EVENTS, _RUNS = 100, 200
#: Events and triggers that are matched before the other runs of the process get their turn.
_AT_ONCE = 100

_OPEN = """
SELECT id, source, subject_id, payload FROM events
WHERE run_id = %s AND status = 'created' ORDER BY id LIMIT %s FOR UPDATE
"""
_LAUNCHED = "SELECT event_id, trigger_id FROM event_launches WHERE event_id = ANY(%s)"
_LAUNCH = """
INSERT INTO event_launches (event_id, trigger_id, workspace_id, tenant_id, run_id)
SELECT e, t, %s, %s, r FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[]) AS new(e, t, r)
"""
_DONE = """
UPDATE events SET status = 'success', finished_at = now() WHERE id = ANY(%s)
"""
#: Type of trigger -> what started its runs.
_LAUNCHED_BY = {
    "app-event-trigger": "app-event-trigger",
    "connector-event-trigger": "external-event",
}


def run_id_of(event_id: UUID, trigger_id: UUID) -> UUID:
    """Return the id of the run that an event starts at a trigger: a UUIDv7 of the event's time."""
    digest = hashlib.sha256(event_id.bytes + trigger_id.bytes).digest()
    number = (event_id.int >> 80 << 80) | (int.from_bytes(digest[:10], "big"))
    number = number & ~(0xF << 76) | (7 << 76)
    return UUID(int=number & ~(0x3 << 62) | (0x2 << 62))


@dataclass(slots=True)
class Launching:
    """Launches the events that one run sees to."""

    database: Database
    dispatch: Dispatch
    claim: Claim
    #: The tenant, as formulas see it.
    user: Mapping[str, Any]
    #: Key of the connector, for events of a connection.
    app: str = ""
    _listeners: dict[str, list[Listener]] | None = field(default=None, init=False)

    async def step(self) -> bool:
        """Launch some; return whether there may be more."""
        owner = self.claim.owner
        async with self.database.transaction(Scope.worker([owner])) as connection:
            cursor = await connection.execute(_OPEN, (self.claim.run_id, _EVENTS))
            events = await cursor.fetchall()
            if not events:
                return False
            listeners = await self._of(connection, events)
            ids = [event["id"] for event in events]
            cursor = await connection.execute(_LAUNCHED, (ids,))
            before = {(row["event_id"], row["trigger_id"]) for row in await cursor.fetchall()}
            found = await self._matched(events, listeners, before)
            runs = [run for _, _, run in found.launches]
            if runs:
                await insert_runs(connection, owner, runs)
                columns = zip(*((e, t, run.id) for e, t, run in found.launches), strict=True)
                values = (owner.workspace_id, owner.tenant_id, *(list(each) for each in columns))
                await connection.execute(_LAUNCH, values)
            await connection.execute(_DONE, (found.done,))
        await self._send(runs)
        return True

    async def _of(
        self, connection: AsyncConnection[DictRow], events: Sequence[DictRow]
    ) -> dict[str, list[Listener]]:
        """Return who listens, by what they hear; asked once for all that this run sees to."""
        if self._listeners is not None:
            return self._listeners
        found: dict[str, list[Listener]] = {}
        owner = self.claim.owner
        if events[0]["source"] == "app":
            listeners = await app_listeners(connection, owner)
            names = await _type_keys(connection, {event["subject_id"] for event in events})
        else:
            subjects = sorted({event["subject_id"] for event in events})
            listeners = await external_listeners(connection, owner, subjects, self.app)
            names = {str(each): str(each) for each in subjects}
        for listener in listeners:
            for subject, name in names.items():
                if listener.hears & {subject, name}:
                    found.setdefault(subject, []).append(listener)
        self._listeners = found
        return found

    async def _matched(
        self,
        events: Sequence[DictRow],
        listeners: Mapping[str, Sequence[Listener]],
        before: set[tuple[UUID, UUID]],
    ) -> _Found:
        found, looks = _Found(), 0
        for event in events:
            is_whole = True
            for listener in listeners.get(str(event["subject_id"]), ()):
                looks += 1
                if looks % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                if (event["id"], listener.id) in before:
                    continue
                if len(found.launches) == _RUNS:
                    is_whole = False
                    break
                if (run := self._run(event, listener)) is not None:
                    found.launches.append((event["id"], listener.id, run))
            if not is_whole:
                break
            found.done.append(event["id"])
        return found

    def _run(self, event: DictRow, listener: Listener) -> NewRun | None:
        try:
            given = listener.input(event["payload"], self.user)
        except VesicleError:
            given = event["payload"]  # as it came; the flow shows what its mapping cannot do
        if not listener.wants(given, self.user):
            return None
        kind = _LAUNCHED_BY.get(listener.type, "data-source-trigger")
        return launched(
            run_id=run_id_of(event["id"], listener.id),
            flow_id=listener.flow_id,
            flow_key=listener.flow_key,
            node_key=listener.node_key,
            input=given,
            launched_by={"type": kind, "ids": [str(event["id"])]},
            integration_id=listener.integration_id,
            connection_id=listener.connection_id,
            instance_key=listener.instance_key,
        )

    async def _send(self, runs: Sequence[NewRun]) -> None:
        owner: Owner = self.claim.owner
        spilled = await self.dispatch.send([outgoing(owner, run) for run in runs]) if runs else []
        if spilled:
            async with self.database.transaction(Scope.worker([owner])) as connection:
                await mark_unsent(connection, owner, spilled)


@dataclass(slots=True)
class _Found:
    """What one transaction launches, and the events that are done with it."""

    launches: list[tuple[UUID, UUID, NewRun]] = field(default_factory=list)
    done: list[UUID] = field(default_factory=list)


async def _type_keys(connection: AsyncConnection[DictRow], type_ids: set[UUID]) -> dict[str, str]:
    cursor = await connection.execute(
        "SELECT id::text, key FROM elements WHERE id = ANY(%s)", (list(type_ids),)
    )
    return {row["id"]: row["key"] for row in await cursor.fetchall()}
