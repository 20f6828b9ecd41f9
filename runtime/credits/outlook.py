"""Whether credits would be there, looked up without holding or changing anything."""

from __future__ import annotations

import math
from typing import Any

from runtime.clock import now
from runtime.credits.ledger import Demand
from runtime.db import Database, Query
from runtime.tenancy import Scope

__all__ = ["outlook"]

_TOTALS = """
SELECT w.limit_id, w.subject_id, w.total - coalesce((
    SELECT sum(b.amount) FROM credit_buckets AS b
    WHERE b.limit_id = w.limit_id AND b.subject_id = w.subject_id AND b.slice < k.first
), 0) AS used
FROM credit_windows AS w
JOIN unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS k(limit_id, subject_id, first)
    USING (limit_id, subject_id)
"""


async def outlook(database: Database, scope: Scope, demand: Demand) -> list[dict[str, Any]]:
    """Return each limit that binds a demand, and whether it would fit at this moment.

    Each is `{resource, scope, limit, windowSeconds, used, asked, fits}`. A reservation a moment
    later may find it otherwise.
    """
    moment = now().timestamp()
    windows = demand.windows
    (rows,) = await database.ask(
        scope,
        Query(
            _TOTALS,
            (
                [window.limit_id for window in windows],
                [window.subject_id for window in windows],
                [
                    math.floor((moment - window.seconds) / window.slice_seconds)
                    for window in windows
                ],
            ),
        ),
    )
    used = {(row["limit_id"], row["subject_id"]): row["used"] for row in rows}
    return [
        {
            "resource": window.resource,
            "scope": window.scope,
            "limit": float(window.amount),
            "windowSeconds": window.seconds,
            "used": float(used.get(window.key, 0)),
            "asked": float(demand.amounts[window.resource]),
            "fits": used.get(window.key, 0) + demand.amounts[window.resource] <= window.amount,
        }
        for window in windows
    ]
