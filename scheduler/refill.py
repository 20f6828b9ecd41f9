"""Tops lanes up from the deep backlog: Redis holds the head of each lane, PostgreSQL the rest.

A lane that runs short says so, and is refilled at once, from an index that holds nothing but the
backlog in its order; a lane of which nobody spoke is found by looking, now and then.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from redis.asyncio import Redis

from runtime.db import Database
from runtime.dispatch import QUEUES, Dispatch
from runtime.lanes.client import TROUBLE, Lanes, wait_for_thirst
from runtime.lanes.control import filled, thirsty
from runtime.lanes.messages import Thirsty
from runtime.tenancy import Owner
from scheduler.sending import send

__all__ = ["Refiller"]

log = structlog.get_logger()

#: Lanes that are taken on at once.
_LANES = 20
#: Seconds for which a wait for thirst blocks, and after which one that failed is tried again.
WAIT, _RETRY_WAIT = 20.0, 1.0

_NEXT = """
WITH next AS (
    SELECT id FROM runs
    WHERE tenant_id = %(tenant)s AND queue = %(queue)s AND status = 'queued'
      AND sent_at IS NULL AND due_at IS NULL
    ORDER BY priority DESC, id LIMIT %(room)s FOR UPDATE SKIP LOCKED
)
UPDATE runs AS r SET sent_at = now() FROM next WHERE r.id = next.id
RETURNING r.id, r.workspace_id, r.tenant_id, r.kind, r.queue, r.priority, r.connection_id,
    r.element_id, 0.0 AS delay
"""

# Every lane with a backlog in the table, one step in the index for each.
_DEEP = """
WITH RECURSIVE lane AS (
    (SELECT workspace_id, tenant_id, queue FROM runs
     WHERE status = 'queued' AND sent_at IS NULL AND due_at IS NULL
     ORDER BY tenant_id, queue LIMIT 1)
    UNION ALL
    SELECT next.* FROM lane CROSS JOIN LATERAL (
        SELECT workspace_id, tenant_id, queue FROM runs
        WHERE status = 'queued' AND sent_at IS NULL AND due_at IS NULL
          AND (tenant_id, queue) > (lane.tenant_id, lane.queue)
        ORDER BY tenant_id, queue LIMIT 1) AS next
)
SELECT * FROM lane
"""


class Refiller:
    """Refills lanes for one scheduler. Any number may work at once."""

    def __init__(
        self, database: Database, redis: Redis, waiting: Redis, dispatch: Dispatch
    ) -> None:
        """Take Redis twice: `waiting` may block for WAIT seconds."""
        self._database = database
        self._waiting = waiting
        self._dispatch = dispatch
        self._lanes = {queue: Lanes(redis, queue) for queue in QUEUES}

    async def run(self) -> None:
        """Refill whatever runs short, for ever."""
        while True:
            try:
                await self.refill()
                await wait_for_thirst(self._waiting, WAIT)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if not isinstance(error, TROUBLE):
                    log.exception("refill.failed", error=type(error).__name__)
                await asyncio.sleep(_RETRY_WAIT)

    async def refill(self) -> None:
        """Refill all lanes that run short now."""
        any_queue = self._lanes[QUEUES[0]]
        while lanes := await any_queue.run(thirsty(_LANES)):
            await asyncio.gather(*(self._fill(lane) for lane in lanes))

    async def find_deep(self) -> int:
        """Remind the queue of every lane with a backlog in the table; return how many there are."""
        async with self._database.unscoped("scheduler") as connection:
            cursor = await connection.execute(_DEEP)
            rows = await cursor.fetchall()
        for row in rows:
            owner = Owner(row["workspace_id"], row["tenant_id"])
            await self._dispatch.spill(owner, row["queue"], 0)
        return len(rows)

    async def _fill(self, lane: Thirsty) -> None:
        values = {"tenant": UUID(lane.tenant), "queue": lane.queue, "room": lane.room}
        async with self._database.unscoped("scheduler") as connection:
            cursor = await connection.execute(_NEXT, values)
            rows = await cursor.fetchall()
        rows.sort(key=lambda row: (-row["priority"], row["id"]))
        await send(self._database, self._dispatch, rows, refill=True)
        if len(rows) < lane.room:
            # What spilled since the lane was called thirsty, and was perhaps not seen, keeps it so.
            nothing_left = filled(lane.workspace, lane.tenant, lane.spills)
            await self._lanes[lane.queue].run(nothing_left)
