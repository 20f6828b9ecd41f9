"""Why a run is not running: its place, what holds it, and when its next chance is.

The row says what was decided, the queue says where the message is; what neither knows is said too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from redis.asyncio import Redis

from runtime.clock import now
from runtime.lanes.client import TROUBLE, Lanes
from runtime.lanes.inspection import depth, locate
from runtime.lanes.messages import Location
from runtime.runs.states import TERMINAL

__all__ = ["explain"]

_ROW = """
SELECT r.id, r.status, r.queue, r.tenant_id, r.priority, r.due_at, r.sent_at, r.waiting, r.attempt,
    r.started_at, r.finished_at, r.lease_until, r.stop_requested, r.error, r.dead_reason,
    t.archived_at IS NOT NULL AS tenant_archived,
    r.connection_id IS NOT NULL AND (c.archived_at IS NOT NULL OR c.deactivated_by IS NOT NULL)
        IS NOT FALSE AS connection_archived,
    r.element_id IS NOT NULL AND (e.archived_at IS NOT NULL) IS NOT FALSE AS element_archived
FROM runs AS r JOIN tenants AS t ON t.id = r.tenant_id
LEFT JOIN connections AS c ON c.id = r.connection_id
LEFT JOIN elements AS e ON e.id = r.element_id
WHERE r.id = %s
"""

# No further than this: a place beyond it says as much as the number would.
_FARTHEST = 100_000
_BEFORE = """
SELECT count(*) AS ahead FROM (
    SELECT FROM runs WHERE tenant_id = %(tenant_id)s AND queue = %(queue)s AND status = 'queued'
      AND sent_at IS NULL AND due_at IS NULL
      AND (priority > %(priority)s OR (priority = %(priority)s AND id < %(id)s))
    LIMIT %(most)s) AS r
"""

_OBSTACLES = {
    "stop_requested": "It was asked to stop, and ends as stopped at its start.",
    "tenant_archived": "Its tenant is archived, so it ends as stopped at its start.",
    "connection_archived": "Its connection is archived or switched off; it ends as stopped.",
    "element_archived": "Its action is archived, so it ends as stopped at its start.",
}
#: Seconds after which the relay sends a run again whose message is lost.
_RELAY = 12.0


@dataclass(slots=True)
class _Reason:
    """One thing that keeps a run from running."""

    reason: str
    text: str
    until: datetime | None = None
    data: dict[str, Any] | None = None


async def explain(
    connection: AsyncConnection[DictRow], redis: Redis, run_id: UUID
) -> dict[str, Any] | None:
    """Return `{id, status, summary, reasons, position?, nextChanceAt?}`; None for no such run."""
    row = await (await connection.execute(_ROW, (run_id,))).fetchone()
    if row is None:
        return None
    if row["status"] in TERMINAL:
        return _shown(row, [_ended(row)])
    if row["status"] == "running":
        return _shown(row, [_running(row)])
    reasons = [_Reason(name, text) for name, text in _OBSTACLES.items() if row[name]]
    if row["due_at"] is not None and row["due_at"] > now():
        return _shown(row, [*reasons, _put_off(row)])
    found, consumers = await _in_queue(redis, row)
    position: int | None = None
    if found is None:
        reasons.append(_Reason("queue_unreachable", "The queue cannot be reached at the moment."))
    elif found.state == "unknown" and row["sent_at"] is None:
        position = await _place_in_table(connection, row)
        reasons.append(_Reason("backlog", f"It waits as number {position} behind a full lane."))
    else:
        position = found.position
        reasons.append(_located(found))
    if consumers == 0:
        text = f"No worker serves the queue {row['queue']!r}: start one, or have it serve that."
        reasons.append(_Reason("no_worker", text))
    return _shown(row, reasons, position)


async def _in_queue(redis: Redis, row: DictRow) -> tuple[Location | None, int | None]:
    lanes = Lanes(redis, row["queue"])
    try:
        return await lanes.run(locate(str(row["id"]))), (await lanes.run(depth())).consumers
    except TROUBLE:
        return None, None


async def _place_in_table(connection: AsyncConnection[DictRow], row: DictRow) -> int:
    cursor = await connection.execute(_BEFORE, {**row, "most": _FARTHEST})
    before = await cursor.fetchone()
    return 1 + int(before["ahead"] if before else 0)


def _located(found: Location) -> _Reason:
    match found.state:
        case "capped":
            text = f"The cap {found.cap} is reached: {found.cap_running} of {found.cap_limit} run."
            data = {"cap": found.cap, "limit": found.cap_limit, "running": found.cap_running}
            return _Reason("cap", text, data=data)
        case "delayed":
            due = now() + timedelta(seconds=found.due_in or 0)
            return _Reason("delay", "The queue brings it again after a pause.", due)
        case "held":
            return _Reason("starting", "A worker has taken it and is about to start it.")
        case "unknown":
            due = now() + timedelta(seconds=_RELAY)
            return _Reason("lost", "Its message was lost; it is sent again within seconds.", due)
    text = f"It is number {found.position} in its tenant's lane"
    text += f", behind {found.ahead_lanes} other tenants." if found.ahead_lanes else "."
    return _Reason("queue", text, data={"tenantsAhead": found.ahead_lanes})


def _put_off(row: DictRow) -> _Reason:
    waiting = row["waiting"] or {}
    reason = waiting.get("reason", "delay")
    text = {
        "retry": f"Attempt {row['attempt']} failed; the next one waits for its time.",
        "rate_limited": "The outside app asked to come again later.",
        "limit": "A limit is reached; it starts when there is room again.",
        "trouble": "A part of Vesicle could not be reached; it is tried again.",
        "waiting": (waiting.get("error") or {}).get("message", "A node waits."),
    }.get(reason, "It waits for its time.")
    return _Reason(reason, text, row["due_at"], {"error": waiting.get("error")})


def _running(row: DictRow) -> _Reason:
    if row["lease_until"] is not None and row["lease_until"] < now():
        text = "Its worker gave no sign of life; another one takes it over within seconds."
        return _Reason("worker_lost", text, now() + timedelta(seconds=_RELAY))
    if row["stop_requested"]:
        return _Reason("stopping", "A worker runs it, and was asked to stop it.")
    return _Reason("running", f"A worker runs it: attempt {row['attempt']}.")


def _ended(row: DictRow) -> _Reason:
    text = f"It has ended as {row['status']}."
    data = {"error": row["error"], "deadReason": row["dead_reason"]} if row["error"] else None
    return _Reason(row["status"], text, data=data)


def _shown(row: DictRow, reasons: list[_Reason], position: int | None = None) -> dict[str, Any]:
    chances = [reason.until for reason in reasons if reason.until is not None]
    return {
        "id": str(row["id"]),
        "status": row["status"],
        "summary": " ".join(reason.text for reason in reasons),
        "reasons": [
            {
                "reason": reason.reason,
                "text": reason.text,
                **({"until": reason.until} if reason.until else {}),
                **(reason.data or {}),
            }
            for reason in reasons
        ],
        **({"position": position} if position is not None else {}),
        **({"nextChanceAt": max(chances)} if chances else {}),
    }
