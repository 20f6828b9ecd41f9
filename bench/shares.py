"""Who got how many worker-seconds in a stretch of time, by what the rows of the runs say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bench.sample import owner_connection
from runtime.settings import Settings

__all__ = ["Shares", "measure_shares"]

_WORKED = """
SELECT tenant_id, sum(extract(epoch FROM
    least(coalesce(finished_at, %(until)s), %(until)s) - greatest(started_at, %(since)s)))::float8
    AS seconds
FROM runs
WHERE started_at < %(until)s AND (finished_at IS NULL OR finished_at > %(since)s)
GROUP BY tenant_id
"""
#: What was asked for in the stretch and, `grace` before its end, could have been done in it.
_SATISFIED = """
SELECT tenant_id, count(*) FILTER (WHERE finished_at < %(until)s)::float8 / count(*) AS done
FROM runs
WHERE created_at >= %(since)s AND created_at < %(until)s - make_interval(secs => %(grace)s)
GROUP BY tenant_id
"""
_WAITING = "SELECT DISTINCT tenant_id FROM runs WHERE status = 'queued'"


@dataclass(frozen=True)
class Shares:
    """By tenant: worker-seconds, and the part of the runs asked for that was done in time."""

    worked: dict[UUID, float]
    satisfied: dict[UUID, float]
    #: Who still has a backlog.
    waiting: set[UUID]


async def measure_shares(
    settings: Settings, since: datetime, until: datetime, grace: float
) -> Shares:
    """Return what happened between two moments; a run asked for has `grace` seconds to be done."""
    span = {"since": since, "until": until, "grace": grace}
    async with owner_connection(settings) as connection:
        worked = await (await connection.execute(_WORKED, span)).fetchall()
        satisfied = await (await connection.execute(_SATISFIED, span)).fetchall()
        waiting = await (await connection.execute(_WAITING)).fetchall()
    return Shares(
        {row["tenant_id"]: row["seconds"] for row in worked},
        {row["tenant_id"]: row["done"] for row in satisfied},
        {row["tenant_id"] for row in waiting},
    )
