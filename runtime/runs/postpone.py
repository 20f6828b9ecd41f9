"""Puts claimed runs off, many at once: they are queued again, and not before their time."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.runs.partitions import among
from runtime.runs.states import Claim, Postponement

__all__ = ["HORIZON", "postpone_runs"]

#: Seconds up to which the queue remembers a run that waits; longer waits are rows only, which the
#: scheduler sends when they are due.
HORIZON = 60.0

# What waits in the queue counts as sent when it is due: only then may the relay doubt that it is
# still there. A run that was asked to stop meanwhile waits for nothing: its claim ends it. Nor does
# one that got a signal: it goes on with that.
_POSTPONE = """
WITH late AS (
    SELECT *, now() + make_interval(secs => delay) AS due FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS p(id uuid, token uuid, delay float8, reason text, error jsonb)
)
UPDATE runs AS r
SET status = 'queued', lease_token = NULL, lease_until = NULL, called_at = NULL, takeovers = 0,
    attempt = r.attempt - CASE WHEN p.reason = 'retry' THEN 0 ELSE 1 END,
    parks = least(r.parks + CASE WHEN p.reason = 'retry' THEN 0 ELSE 1 END, 32767),
    due_at = CASE WHEN r.stop_requested OR r.waiting @> '{"reason": "signalled"}' THEN NULL
        ELSE p.due END,
    sent_at = CASE WHEN r.stop_requested OR r.waiting @> '{"reason": "signalled"}' THEN now()
        WHEN p.delay <= %(horizon)s THEN p.due END,
    waiting = jsonb_build_object('reason', p.reason, 'error', p.error)
FROM late AS p
WHERE r.id = p.id AND r.id = ANY(%(ids)s::uuid[])
  AND r.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid
  AND r.lease_token = p.token AND r.status = 'running'
RETURNING r.id, CASE WHEN r.due_at IS NULL THEN 0 ELSE p.delay END AS delay
"""


async def postpone_runs(
    connection: AsyncConnection[DictRow], late: Sequence[tuple[Claim, Postponement]]
) -> dict[UUID, float]:
    """Put runs off; return the seconds that each of those which were still ours has to wait."""
    rows = [
        {
            "id": claim.run_id,
            "token": claim.lease_token,
            "delay": postponement.delay,
            "reason": postponement.reason,
            "error": postponement.error,
        }
        for claim, postponement in late
    ]
    cursor = await connection.execute(
        _POSTPONE,
        {
            "rows": jsontext.dumps(rows),
            "horizon": HORIZON,
            **among([claim.run_id for claim, _ in late]),
        },
    )
    return {row["id"]: float(row["delay"]) for row in await cursor.fetchall()}
