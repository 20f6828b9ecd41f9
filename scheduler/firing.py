"""Fires schedules: makes the runs of the ticks that are due, each exactly once.

What is due is decided by PostgreSQL's clock alone. A tick's run is written in the transaction that
moves its schedule on, under an id made of the schedule and the tick; so whoever dies, and whatever
clock is wrong, there is one run for it. Its message follows the commit, and the relay sends it
again if it is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from psycopg.rows import DictRow
from redis.asyncio import Redis

from runtime import metrics
from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.flows.scheduled import scheduled_run
from runtime.runs.accept import insert_once
from runtime.runs.states import NewRun
from runtime.schedules.store import Moved, claim_due, move
from runtime.schedules.ticks import Due, Outcome, outcome_of, run_id_of
from runtime.schedules.timing import spread, timing_of_text
from runtime.signals import listen
from runtime.tenancy import Owner, Scope
from scheduler.sending import send

__all__ = ["Firing"]

log = structlog.get_logger()

#: Schedules that are seen to in one transaction. A tick takes 168 µs of processor time, of which
#: 57 are PostgreSQL's; as much with 1000 at once, and 222 with 250.
_BATCH = 500
#: Seconds between looks at when the next tick is due, should nobody speak of a change; before one
#: that failed is tried again; and while others hold all that is due.
_LOOK, _RETRY_WAIT, _OTHERS_WAIT = 5.0, 1.0, 0.02

# Locked for this statement only: whoever looks at the same time sees other rows. One half is what
# is overdue longest, the other what has just become due: a hundred thousand ticks of one moment are
# not to make those late that come after it. A backlog is full if what waits for its turn in the
# table is as much as may wait at all.
_DUE = """
WITH oldest AS (
    SELECT id, workspace_id, tenant_id FROM schedules WHERE next_at <= now()
    ORDER BY next_at LIMIT %(half)s FOR UPDATE SKIP LOCKED
), newest AS (
    SELECT id, workspace_id, tenant_id FROM schedules WHERE next_at <= now()
    ORDER BY next_at DESC LIMIT %(half)s FOR UPDATE SKIP LOCKED
), due AS (
    SELECT * FROM oldest UNION SELECT * FROM newest
), tenants AS (
    SELECT DISTINCT workspace_id, tenant_id FROM due
), bounds AS (
    SELECT t.tenant_id, CASE WHEN c.is_set THEN c.amount ELSE %(backlog)s END AS most
    FROM tenants AS t LEFT JOIN LATERAL (
        SELECT true AS is_set, amount, 0 AS rank FROM caps WHERE workspace_id = t.workspace_id
            AND state = 'queued' AND scope = 'tenant' AND tenant_id = t.tenant_id
        UNION ALL
        SELECT true, amount, 1 FROM caps WHERE workspace_id = t.workspace_id
            AND state = 'queued' AND scope = 'tenant' AND tenant_id IS NULL
        ORDER BY rank LIMIT 1
    ) AS c ON true
), filled AS (
    SELECT tenant_id FROM bounds AS b WHERE most IS NOT NULL AND (
        SELECT count(*) FROM (
            SELECT FROM runs AS r WHERE r.tenant_id = b.tenant_id AND r.status = 'queued'
                AND r.sent_at IS NULL AND r.due_at IS NULL LIMIT b.most
        ) AS waiting) >= most
)
SELECT due.*, filled.tenant_id IS NOT NULL AS is_full FROM due LEFT JOIN filled USING (tenant_id)
"""

_NEXT = """
SELECT extract(epoch FROM min(next_at) - now())::float8 AS wait FROM schedules
WHERE next_at IS NOT NULL
"""


class Firing:
    """Fires schedules for one scheduler. Any number may at once."""

    def __init__(self, database: Database, dispatch: Dispatch, *, backlog: int | None) -> None:
        """Take how many runs of a tenant may wait if its workspace does not say."""
        self._database = database
        self._dispatch = dispatch
        self._backlog = backlog

    async def run(self, listening: Redis) -> None:
        """Fire whatever is due, for ever; `listening` is a client without patience."""
        told = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(listening, due=told.set))
            while True:
                try:
                    await self.fire_all()
                    wait = await self._wait()
                except Exception as error:
                    log.exception("schedules.not_fired", error=type(error).__name__)
                    wait = _RETRY_WAIT
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await told.wait()
                told.clear()

    async def fire_all(self) -> int:
        """Fire until nothing is due; return how many runs that made.

        The messages of one batch go while the next one is written.
        """
        total = 0
        sending: asyncio.Task[None] | None = None
        try:
            while due := await self._due():
                made = await self._fire(due)
                if made is None:
                    await asyncio.sleep(_OTHERS_WAIT)
                    continue
                total += len(made)
                before, sending = sending, asyncio.create_task(self._send(made))
                if before is not None:
                    await before
        finally:
            if sending is not None:
                await sending
        return total

    async def _due(self) -> list[DictRow]:
        async with self._database.unscoped("scheduler") as connection:
            cursor = await connection.execute(_DUE, {"half": _BATCH // 2, "backlog": self._backlog})
            return await cursor.fetchall()

    async def _wait(self) -> float:
        """Return the seconds until the next tick, as the database's clock counts them."""
        async with self._database.unscoped("scheduler") as connection:
            row = await (await connection.execute(_NEXT)).fetchone()
        wait: float | None = row["wait"] if row else None
        return _LOOK if wait is None else min(_LOOK, max(0.0, wait))

    async def _fire(self, due: Sequence[DictRow]) -> list[tuple[Owner, NewRun]] | None:
        """Fire schedules; return the runs that this made, None if others hold all of them."""
        scope = Scope.worker(Owner(row["workspace_id"], row["tenant_id"]) for row in due)
        full = {row["id"] for row in due if row["is_full"]}
        async with self._database.transaction(scope) as connection:
            rows = await claim_due(connection, [row["id"] for row in due])
            fired = [_fired(row, is_full=row["id"] in full) for row in rows]
            runs = [(each.owner, run) for each in fired for run in each.runs]
            made = await insert_once(connection, runs)
            await move(connection, (each.moved(made) for each in fired))
        return [(owner, run) for owner, run in runs if run.id in made] if rows else None

    async def _send(self, made: Sequence[tuple[Owner, NewRun]]) -> None:
        rows = [_to_send(owner, run) for owner, run in made]
        await send(self._database, self._dispatch, rows)


@dataclass(frozen=True, slots=True)
class _Fired:
    """What came of one schedule."""

    id: UUID
    owner: Owner
    outcome: Outcome
    runs: list[NewRun]

    def moved(self, made: set[UUID]) -> Moved:
        last = self.runs[-1].id if self.runs else None
        return Moved(self.id, self.outcome, last, sum(run.id in made for run in self.runs))


def _fired(row: DictRow, *, is_full: bool) -> _Fired:
    owner, now = Owner(row["workspace_id"], row["tenant_id"]), row["now"]
    try:
        due = _due_of(row, is_full=is_full)
        outcome = outcome_of(due, now)
    except Exception as error:
        # Checked when it was written; should it be wrong all the same, such as for a time zone that
        # is no more, it stands still instead of holding up all others.
        log.exception("schedule.not_valid", schedule_id=str(row["id"]), error=type(error).__name__)
        outcome = Outcome((), None, None, skipped=row["nominal_at"], reason="not_valid")
        return _Fired(row["id"], owner, outcome, [])
    runs = [
        scheduled_run(
            row,
            run_id=run_id_of(row["id"], tick, due.offset, now),
            scheduled_at=tick,
            triggered_at=now,
        )
        for tick in outcome.ticks
        if row["last_scheduled_at"] is None or tick > row["last_scheduled_at"]
    ]
    for tick in outcome.ticks:
        metrics.tick_fired((now - tick - due.offset).total_seconds())
    if outcome.reason is not None:
        metrics.tick_skipped(outcome.reason)
    return _Fired(row["id"], owner, outcome, runs)


def _due_of(row: DictRow, *, is_full: bool) -> Due:
    timing = timing_of_text(row["timing"])
    return Due(
        timing=timing,
        anchor=row["created_at"],
        offset=spread(timing, row["tenant_id"], row["element_id"]),
        nominal=row["nominal_at"],
        is_held=row["is_held"],
        is_busy=row["is_busy"],
        is_full=is_full,
    )


def _to_send(owner: Owner, run: NewRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "workspace_id": owner.workspace_id,
        "tenant_id": owner.tenant_id,
        "kind": run.kind,
        "queue": run.queue,
        "priority": run.priority,
        "connection_id": run.connection_id,
        "element_id": run.element_id,
        "delay": 0.0,
    }
