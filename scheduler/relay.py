"""Sends runs again whose message may be lost: Redis was emptied, a worker or the API died.

The row is the truth and the message only a hint, so sending once too often does no harm: a message
that is still in its queue is not put there twice, and a run that was claimed is not claimed again.
"""

from __future__ import annotations

import structlog

from runtime.db import Database
from runtime.dispatch import Dispatch, Outgoing
from runtime.tenancy import Owner

__all__ = ["relay"]

log = structlog.get_logger()

#: Runs that are sent again in one go.
_BATCH = 1000
#: Seconds that a message gets before it is doubted, and after a lease that was not renewed.
_DOUBT, _LEASE_DOUBT = 10.0, 1.0

_LOST = """
WITH lost AS (
    SELECT id FROM runs
    WHERE (status = 'queued' AND sent_at < now() - make_interval(secs => %(doubt)s))
       OR (status = 'running' AND lease_until < now() - make_interval(secs => %(lease_doubt)s)
           AND sent_at < now() - make_interval(secs => %(lease_doubt)s * 3))
    ORDER BY sent_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
UPDATE runs AS r SET sent_at = now() FROM lost WHERE r.id = lost.id
RETURNING r.id, r.workspace_id, r.tenant_id, r.kind, r.queue
"""


async def relay(database: Database, dispatch: Dispatch) -> int:
    """Send again what needs it; return how many runs that were.

    Any number of schedulers may do this at once: each run is taken by one of them.
    """
    async with database.unscoped("scheduler") as connection:
        cursor = await connection.execute(
            _LOST, {"doubt": _DOUBT, "lease_doubt": _LEASE_DOUBT, "batch": _BATCH}
        )
        rows = await cursor.fetchall()
    if rows:
        await dispatch.send(
            [
                Outgoing(
                    row["id"],
                    Owner(row["workspace_id"], row["tenant_id"]),
                    row["kind"],
                    row["queue"],
                )
                for row in rows
            ]
        )
        log.info("relay.sent_again", runs=len(rows))
    return len(rows)
