"""Empties the queue and the tables of runs, so that no part works on what another one left."""

from __future__ import annotations

from bench.platform import Platform
from bench.sample import owner_connection
from runtime.lanes.client import connect

__all__ = ["purge"]


async def purge(platform: Platform) -> None:
    """Remove all runs, their records and their messages. No worker may be running."""
    for settings in (platform.settings, platform.unsecured):
        async with owner_connection(settings) as connection:
            await connection.execute("TRUNCATE runs, activity_records CASCADE")
        async with connect(settings.required_redis_url()) as client:
            await client.flushdb()
