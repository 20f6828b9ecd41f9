"""How much of a tenant's work waits, as one process that accepts runs knows it.

The queue knows what it holds, the table what the queue has no room for. Asking both costs a round
trip and a count, so the answer is kept and what this process accepts is added to it. Nobody is
refused by what is kept: a full backlog is always asked for anew. Several processes together may
go past a cap by what each accepts within a second.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass, field

import structlog
from redis.asyncio import Redis

from runtime.caps.store import backlog_cap
from runtime.clock import monotonic
from runtime.db import Database
from runtime.dispatch import QUEUES
from runtime.errors import BacklogFullError, ServiceUnavailableError, VesicleError
from runtime.lanes.client import TROUBLE, Lanes
from runtime.lanes.inspection import lane_depth
from runtime.tenancy import Owner, Scope

__all__ = ["Backlogs"]

log = structlog.get_logger()

#: Seconds after which what is known is asked for anew, while the backlog is short and when it is
#: not, and before anybody is refused.
_CALM, _ALERT, _DOUBT = 5.0, 1.0, 0.05
#: Seconds by which a question that nobody waits for lets the run go first that raised it.
_LATER = 0.05
#: The part of a cap from which on a backlog is not short.
_LONG = 0.25
#: Tenants that are known at once.
_TENANTS = 10_000
#: Seconds that a caller is asked to wait if nobody can say how fast the backlog shrinks.
_WAIT = 5


@dataclass(slots=True)
class _Known:
    """A tenant's backlog, when it was asked for, and the queues in which it goes past the head."""

    depth: int = 0
    cap: int | None = None
    asked_at: float = -math.inf
    deep: set[str] = field(default_factory=set)
    #: Runs that leave the backlog, a second.
    rate: float = 0.0
    #: Accepted here since it was asked for.
    added: int = 0
    asking: asyncio.Task[None] | None = None


class Backlogs:
    """The backlogs of the tenants whose runs this process accepts."""

    def __init__(self, database: Database, redis: Redis, *, cap: int | None) -> None:
        """Ask these two; `cap` is for tenants for whom their workspace set none."""
        self._database = database
        self._lanes = {queue: Lanes(redis, queue) for queue in QUEUES}
        self._cap = cap
        self._known: OrderedDict[Owner, _Known] = OrderedDict()

    async def refuse_beyond(self, owner: Owner, count: int) -> list[VesicleError]:
        """Return an error for each of `count` runs that the backlog has no room for."""
        known = self._of(owner)
        if not self._is_fresh(known, _CALM if self._is_short(known, count) else _ALERT):
            # Nobody waits for an answer that will hardly matter; what is added meanwhile counts.
            if math.isinf(known.asked_at) or not self._is_short(known, count):
                await asyncio.shield(self._ask(owner, known))
            else:
                _ = self._ask(owner, known, _LATER)
        excess = self._excess(known, count)
        if excess > 0 and not self._is_fresh(known, _DOUBT):
            await asyncio.shield(self._ask(owner, known))
            excess = self._excess(known, count)
        return [self._refusal(known)] * min(count, max(0, excess))

    def add(self, owner: Owner, count: int) -> None:
        """Count runs that were just accepted."""
        self._of(owner).added += count

    def is_deep(self, owner: Owner, queue: str) -> bool:
        """Return whether runs wait in the table, so that a new one would overtake them."""
        return queue in self._of(owner).deep

    def expect_deep(self, owner: Owner, queue: str) -> None:
        """Note that the queue had no room for a run."""
        self._of(owner).deep.add(queue)

    def _of(self, owner: Owner) -> _Known:
        known = self._known.get(owner)
        if known is None:
            known = self._known[owner] = _Known(cap=self._cap)
            if len(self._known) > _TENANTS:
                self._known.popitem(last=False)
        self._known.move_to_end(owner)
        return known

    def _is_fresh(self, known: _Known, age: float) -> bool:
        # A lane that was deep may be so no more, and then runs need not wait in the table.
        return monotonic() - known.asked_at < (min(age, _ALERT) if known.deep else age)

    def _is_short(self, known: _Known, count: int) -> bool:
        return known.cap is None or known.depth + known.added + count <= known.cap * _LONG

    def _excess(self, known: _Known, count: int) -> int:
        return 0 if known.cap is None else known.depth + known.added + count - known.cap

    def _refusal(self, known: _Known) -> BacklogFullError:
        depth, cap = known.depth + known.added, known.cap or 0
        wait = min(60, max(1, math.ceil(0.1 * cap / known.rate))) if known.rate > 0 else _WAIT
        return BacklogFullError(
            f"{depth} runs of this tenant wait already, and {cap} may. Send this one again in"
            f" {wait} s, or have the cap raised.",
            data={"depth": depth, "cap": cap, "retryAfter": wait},
            headers={"Retry-After": str(wait)},
        )

    def _ask(self, owner: Owner, known: _Known, delay: float = 0.0) -> asyncio.Task[None]:
        if known.asking is None or known.asking.done():
            known.asking = asyncio.create_task(self._asked(owner, known, delay))
        return known.asking

    async def _asked(self, owner: Owner, known: _Known, delay: float) -> None:
        await asyncio.sleep(delay)
        added, before, since = known.added, known.depth, known.asked_at
        try:
            depth, deep = await self._in_queues(owner)
            known.cap, waiting = await self._in_table(owner, deep=bool(deep))
        except (*TROUBLE, ServiceUnavailableError) as error:
            # A soft bound fails open: what is accepted is a row, and rows are not lost.
            log.warning("backlog.unknown", error=type(error).__name__)
            depth, deep, waiting = known.depth, known.deep, 0
        known.depth, known.deep = depth + waiting, deep
        known.added -= added
        known.asked_at = monotonic()
        if math.isfinite(since):
            left = before + added - known.depth
            known.rate = max(0.0, left / (known.asked_at - since))

    async def _in_queues(self, owner: Owner) -> tuple[int, set[str]]:
        workspace, tenant = str(owner.workspace_id), str(owner.tenant_id)
        depths = await asyncio.gather(
            *(lanes.run(lane_depth(workspace, tenant)) for lanes in self._lanes.values())
        )
        deep = {queue for queue, lane in zip(self._lanes, depths, strict=True) if lane.deep}
        return sum(lane.queued + lane.parked + lane.delayed for lane in depths), deep

    async def _in_table(self, owner: Owner, *, deep: bool) -> tuple[int | None, int]:
        scope = Scope.tenant(owner.workspace_id, owner.tenant_id)
        async with self._database.transaction(scope) as connection:
            cap = await backlog_cap(connection, owner, self._cap)
            if not deep:
                return cap, 0
            # No further than the cap: counting a million of them would take a tenth of a second.
            cursor = await connection.execute(
                "SELECT count(*) AS waiting FROM (SELECT FROM runs WHERE tenant_id = %s"
                " AND status = 'queued' AND sent_at IS NULL AND due_at IS NULL LIMIT %s) AS r",
                (owner.tenant_id, cap),
            )
            row = await cursor.fetchone()
            return cap, int(row["waiting"]) if row else 0
