"""Brings the caps from the table to the lanes, which hold to them.

One hand writes them there: what several would write at once could arrive in the wrong order. The
database says that something changed, and every two seconds the versions are compared, which heals a
word that was lost and a Redis that was emptied.
"""

from __future__ import annotations

import asyncio

import structlog
from redis.asyncio import Redis

from runtime.caps.store import caps_version, running_caps
from runtime.changes import Changes
from runtime.db import Database
from runtime.dispatch import QUEUES
from runtime.lanes.client import Lanes
from runtime.lanes.control import cap_version, set_caps

__all__ = ["sync_caps", "sync_caps_when_told"]

log = structlog.get_logger()


async def sync_caps(database: Database, redis: Redis) -> bool:
    """Tell the lanes all caps if they know others; return whether they were told.

    Any number of schedulers may do this at once. Raises one of TROUBLE.
    """
    lanes = Lanes(redis, QUEUES[0])  # the caps are those of all queues
    known = await lanes.run(cap_version())
    async with database.unscoped("scheduler") as connection:
        version = await caps_version(connection)
        if version == known:
            return False
        # Read after the version, so they may be newer than it; then the next look tells them again.
        caps = await running_caps(connection)
    await lanes.run(set_caps(caps, version))
    log.info("caps.told", caps=len(caps))
    return True


async def sync_caps_when_told(database: Database, redis: Redis, changes: Changes) -> None:
    """Do so at each word of a changed cap, until cancelled."""
    told = asyncio.Event()
    changes.heed(lambda change: told.set() if change.table in (None, "caps") else None)
    while True:
        await told.wait()
        told.clear()
        try:
            await sync_caps(database, redis)
        except Exception as error:
            log.exception("caps.not_told", error=type(error).__name__)
