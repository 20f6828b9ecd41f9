"""Sends runs again whose message may be lost: Redis was emptied, a worker or the API died.

The row is the truth and the message only a hint, so sending once too often does no harm: a message
that is still in its queue is not put there twice, and a run that was claimed is not claimed again.
"""

from __future__ import annotations

import structlog
from redis.asyncio import Redis

from runtime import metrics
from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.lanes.client import TROUBLE
from runtime.lanes.identity import identity
from scheduler.sending import send

__all__ = ["Relay"]

log = structlog.get_logger()

#: Runs that are sent again in one go.
_BATCH = 1000
#: Seconds that a message gets before it is doubted, and after a lease that was not renewed.
_DOUBT, _LEASE_DOUBT = 10.0, 1.0

# A run that waits for long is doubted less and less often: what is well after a minute in its lane
# is well, as long as the server is the same.
_LOST = """
WITH lost AS (
    SELECT id FROM runs
    WHERE status = 'queued' AND sent_at < now() - make_interval(secs => %(doubt)s)
    ORDER BY sent_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), orphaned AS (
    SELECT id FROM runs
    WHERE status = 'running' AND lease_until < now() - make_interval(secs => %(lease_doubt)s)
      AND sent_at < now() - make_interval(secs => %(lease_doubt)s * 3)
    ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), doubted AS (SELECT id FROM lost UNION ALL SELECT id FROM orphaned)
UPDATE runs AS r
SET sent_at = greatest(r.due_at, now()) + CASE WHEN r.status = 'queued'
    THEN least(now() - r.created_at, interval '5 minutes') / 2 ELSE interval '0' END
FROM doubted WHERE r.id = doubted.id
RETURNING r.id, r.workspace_id, r.tenant_id, r.kind, r.queue, r.priority, r.connection_id,
    r.element_id, extract(epoch FROM r.due_at - now())::float8 AS delay
"""

_DOUBT_ALL = """
UPDATE runs SET sent_at = now() - interval '1 hour'
WHERE status = 'queued' AND sent_at > now() - make_interval(secs => %(doubt)s)
"""


class Relay:
    """The relay of one scheduler. Any number may work at once: each run is taken by one of them."""

    def __init__(self, database: Database, redis: Redis, dispatch: Dispatch) -> None:
        """Watch over this Redis, which is not known yet."""
        self._database = database
        self._redis = redis
        self._dispatch = dispatch
        self._known: str | None = None

    async def relay(self) -> int:
        """Send again what needs it; return how many runs that were."""
        await self._doubt_another_server()
        total = 0
        while True:
            sent = await self._again()
            total += sent
            if sent < _BATCH:
                break
        if total:
            metrics.relay_sent_again(total)
            log.info("relay.sent_again", runs=total)
        return total

    async def _doubt_another_server(self) -> None:
        """Doubt every message if the server lost its data or was started anew."""
        try:
            found = await identity(self._redis)
        except TROUBLE:
            return
        if found == self._known:
            return
        async with self._database.unscoped("scheduler") as connection:
            cursor = await connection.execute(_DOUBT_ALL, {"doubt": _DOUBT})
        self._known = found
        log.info("relay.server_is_new", doubted=cursor.rowcount)

    async def _again(self) -> int:
        async with self._database.unscoped("scheduler") as connection:
            cursor = await connection.execute(
                _LOST, {"doubt": _DOUBT, "lease_doubt": _LEASE_DOUBT, "batch": _BATCH}
            )
            rows = await cursor.fetchall()
        await send(self._database, self._dispatch, rows)
        return len(rows)
