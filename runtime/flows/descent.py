"""Stops the flows that a flow runs, and those that they run, when it ends before them."""

from __future__ import annotations

from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from redis.asyncio import Redis

from runtime.runs.stop import stop_run
from runtime.signals import announce_stop
from runtime.waiting import tell_ended

__all__ = ["stop_below", "tell_stopped"]

_BELOW = """
WITH RECURSIVE below AS (
    SELECT child_id FROM node_runs
    WHERE run_id = %s AND child_id IS NOT NULL AND status = 'waiting'
    UNION
    SELECT n.child_id FROM below AS b JOIN node_runs AS n
        ON n.run_id = b.child_id AND n.child_id IS NOT NULL AND n.status = 'waiting'
)
SELECT child_id FROM below
"""


async def stop_below(connection: AsyncConnection[DictRow], run_id: UUID) -> dict[UUID, str]:
    """Stop what a run waits for, however deep; return what `stop_run` said of each."""
    rows = await (await connection.execute(_BELOW, (run_id,))).fetchall()
    return {row["child_id"]: await stop_run(connection, row["child_id"]) for row in rows}


async def tell_stopped(redis: Redis, stopped: dict[UUID, str]) -> None:
    """Tell those who run them, or wait for them; called once it is committed."""
    await tell_ended(redis, [run for run, what in stopped.items() if what == "stopped"])
    for run, what in stopped.items():
        if what == "stopping":
            await announce_stop(redis, run)
