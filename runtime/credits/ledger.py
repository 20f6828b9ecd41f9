"""Reserve before the call, settle after it: exact rolling windows in PostgreSQL.

A window's row is the lock under which a reservation is decided, so any number of workers together
never go over. It carries the sum of its live slices, so a decision does not add them up again; what
has left the window is taken off when the row is next locked. A slice counts as long as any moment
of it lies inside the window: a run may be refused early by one slice, and never admitted early.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow

from runtime.credits.limits import Window
from runtime.errors import InsufficientCreditError, RateLimitExceededError, VesicleError
from runtime.tenancy import Owner

__all__ = ["Demand", "reserve", "settle"]

#: Resources that count events; running out of any other is a lack of credit.
_COUNTED = frozenset({"action-runs", "flow-runs", "api-requests", "run-seconds"})

#: Read after the locks: whoever waited for them must not decide by the time before.
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"
_HELD = "SELECT DISTINCT run_id FROM reservations WHERE run_id = ANY(%s)"

Key = tuple[UUID, UUID]


@dataclass(frozen=True, slots=True)
class Demand:
    """What one run wants to reserve, and the windows that bind it."""

    run_id: UUID
    owner: Owner
    amounts: Mapping[str, Decimal]
    windows: Sequence[Window]


async def reserve(
    connection: AsyncConnection[DictRow], demands: Sequence[Demand]
) -> list[VesicleError | None]:
    """Reserve each demand in all its windows or in none; return an error for what does not fit.

    A run that already holds its reservation keeps it, so a second attempt costs nothing more.
    """
    windows = {window.key: window for demand in demands for window in demand.windows}
    # In a pipeline these three are one round trip, and still one after the other.
    locked = await _lock(connection, windows)
    clock = await connection.execute(_NOW)
    reserved = await connection.execute(_HELD, ([demand.run_id for demand in demands],))
    totals = {(row["limit_id"], row["subject_id"]): row["total"] for row in await locked.fetchall()}
    now = float((await clock.fetchall())[0]["now"])
    held = {row["run_id"] for row in await reserved.fetchall()}
    await _expire(connection, windows, totals, now)
    tight: list[Window | None] = []
    taken: list[tuple[Demand, Window, int]] = []
    for demand in demands:
        fresh = demand.run_id not in held
        tight.append(_too_tight(demand, totals) if fresh else None)
        if fresh and tight[-1] is None:
            for window in demand.windows:
                totals[window.key] += demand.amounts[window.resource]
                taken.append((demand, window, math.floor(now / window.slice_seconds)))
    if taken:
        await _take(connection, taken)
    return [
        await _refusal(connection, demand, window, totals[window.key], now) if window else None
        for demand, window in zip(demands, tight, strict=True)
    ]


def _too_tight(demand: Demand, totals: Mapping[Key, Decimal]) -> Window | None:
    for window in demand.windows:
        if totals[window.key] + demand.amounts[window.resource] > window.amount:
            return window
    return None


async def _lock(
    connection: AsyncConnection[DictRow], windows: Mapping[Key, Window]
) -> AsyncCursor[DictRow]:
    # In the order of the key, so that two batches never wait for each other in a circle.
    ordered = [windows[key] for key in sorted(windows)]
    await connection.execute(
        "INSERT INTO credit_windows (limit_id, subject_id, workspace_id, tenant_id)"
        " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[])"
        " ON CONFLICT DO NOTHING",
        (
            [window.limit_id for window in ordered],
            [window.subject_id for window in ordered],
            [window.workspace_id for window in ordered],
            [window.owner_tenant for window in ordered],
        ),
    )
    return await connection.execute(
        "SELECT w.limit_id, w.subject_id, w.total FROM credit_windows AS w"
        " JOIN unnest(%s::uuid[], %s::uuid[]) AS k(limit_id, subject_id)"
        " USING (limit_id, subject_id) ORDER BY w.limit_id, w.subject_id FOR UPDATE OF w",
        ([window.limit_id for window in ordered], [window.subject_id for window in ordered]),
    )


async def _expire(
    connection: AsyncConnection[DictRow],
    windows: Mapping[Key, Window],
    totals: dict[Key, Decimal],
    now: float,
) -> None:
    keys = list(windows)
    cursor = await connection.execute(
        "WITH gone AS (DELETE FROM credit_buckets AS b"
        " USING unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS k(limit_id, subject_id, first)"
        " WHERE b.limit_id = k.limit_id AND b.subject_id = k.subject_id AND b.slice < k.first"
        " RETURNING b.limit_id, b.subject_id, b.amount),"
        " sums AS (SELECT limit_id, subject_id, sum(amount) AS amount FROM gone GROUP BY 1, 2)"
        " UPDATE credit_windows AS w SET total = w.total - s.amount FROM sums AS s"
        " WHERE w.limit_id = s.limit_id AND w.subject_id = s.subject_id"
        " RETURNING w.limit_id, w.subject_id, w.total",
        (
            [key[0] for key in keys],
            [key[1] for key in keys],
            [_first_live(windows[key], now) for key in keys],
        ),
    )
    for row in await cursor.fetchall():
        totals[row["limit_id"], row["subject_id"]] = row["total"]


def _first_live(window: Window, now: float) -> int:
    return math.floor((now - window.seconds) / window.slice_seconds)


async def _take(
    connection: AsyncConnection[DictRow], taken: Sequence[tuple[Demand, Window, int]]
) -> None:
    columns: dict[str, list[Any]] = defaultdict(list)
    for demand, window, number in taken:
        columns["run"].append(demand.run_id)
        columns["limit"].append(window.limit_id)
        columns["subject"].append(window.subject_id)
        columns["workspace"].append(window.workspace_id)
        columns["tenant"].append(demand.owner.tenant_id)
        columns["window_tenant"].append(window.owner_tenant)
        columns["resource"].append(window.resource)
        columns["slice"].append(number)
        columns["amount"].append(demand.amounts[window.resource])
    await connection.execute(
        "WITH taken AS (SELECT * FROM unnest(%(run)s::uuid[], %(limit)s::uuid[],"
        " %(subject)s::uuid[], %(workspace)s::uuid[], %(tenant)s::uuid[],"
        " %(window_tenant)s::uuid[], %(resource)s::text[], %(slice)s::bigint[],"
        " %(amount)s::numeric[]) AS t(run_id, limit_id, subject_id, workspace_id, tenant_id,"
        " window_tenant, resource, slice, amount)),"
        " reserved AS (INSERT INTO reservations (run_id, limit_id, subject_id, workspace_id,"
        " tenant_id, resource, slice, amount) SELECT run_id, limit_id, subject_id, workspace_id,"
        " tenant_id, resource, slice, amount FROM taken),"
        " filled AS (INSERT INTO credit_buckets AS b (limit_id, subject_id, slice, workspace_id,"
        " tenant_id, amount) SELECT limit_id, subject_id, slice, workspace_id, window_tenant,"
        " sum(amount) FROM taken GROUP BY 1, 2, 3, 4, 5"
        " ON CONFLICT (limit_id, subject_id, slice) DO UPDATE SET amount = b.amount"
        " + excluded.amount),"
        " sums AS (SELECT limit_id, subject_id, sum(amount) AS amount FROM taken GROUP BY 1, 2)"
        " UPDATE credit_windows AS w SET total = w.total + s.amount FROM sums AS s"
        " WHERE w.limit_id = s.limit_id AND w.subject_id = s.subject_id",
        dict(columns),
    )


async def _refusal(
    connection: AsyncConnection[DictRow],
    demand: Demand,
    window: Window,
    total: Decimal,
    now: float,
) -> VesicleError:
    asked = demand.amounts[window.resource]
    wait = await _wait(connection, window, total + asked - window.amount, now)
    data: dict[str, Any] = {
        "resource": window.resource,
        "scope": window.scope,
        "limit": float(window.amount),
        "windowSeconds": window.seconds,
        "used": float(total),
        "asked": float(asked),
        "whenReached": window.when_reached,
    }
    if wait is not None:
        data["retryAfter"] = math.ceil(wait)
    when = f" There is room again in {math.ceil(wait)} s." if wait is not None else ""
    kind = RateLimitExceededError if window.resource in _COUNTED else InsufficientCreditError
    return kind(
        f"The {window.scope}'s limit of {window.amount:f} {window.resource} in any"
        f" {window.seconds} s is reached: {total:f} used or reserved, {asked:f} asked for.{when}",
        data=data,
    )


async def _wait(
    connection: AsyncConnection[DictRow], window: Window, excess: Decimal, now: float
) -> float | None:
    cursor = await connection.execute(
        "SELECT slice, amount FROM credit_buckets WHERE limit_id = %s AND subject_id = %s"
        " ORDER BY slice",
        window.key,
    )
    freed = Decimal(0)
    for row in await cursor.fetchall():
        freed += row["amount"]
        if freed >= excess:
            until = (row["slice"] + 1) * window.slice_seconds + window.seconds
            return max(1.0, float(until) - now)
    return None  # one run asks for more than the whole limit


async def settle(
    connection: AsyncConnection[DictRow], usage: Mapping[UUID, Mapping[str, float]]
) -> None:
    """Turn the reservations of ended runs into what they really used: run -> resource -> units.

    A run that used nothing of a resource has it back. More than was reserved is taken too, even
    past the limit: it has been consumed.
    """
    cursor = await connection.execute(
        "DELETE FROM reservations WHERE run_id = ANY(%s)"
        " RETURNING run_id, limit_id, subject_id, resource, slice, amount",
        (list(usage),),
    )
    deltas: dict[tuple[UUID, UUID, int], Decimal] = defaultdict(Decimal)
    for row in await cursor.fetchall():
        used = Decimal(str(usage[row["run_id"]].get(row["resource"], 0)))
        deltas[row["limit_id"], row["subject_id"], row["slice"]] += used - row["amount"]
    changed = {place: delta for place, delta in sorted(deltas.items()) if delta}
    if not changed:
        return
    await connection.execute(
        "WITH locked AS (SELECT w.limit_id, w.subject_id FROM credit_windows AS w"
        " WHERE (w.limit_id, w.subject_id) IN"
        " (SELECT * FROM unnest(%(limits)s::uuid[], %(subjects)s::uuid[]))"
        " ORDER BY 1, 2 FOR UPDATE),"
        " moved AS (UPDATE credit_buckets AS b SET amount = b.amount + d.delta"
        " FROM unnest(%(limits)s::uuid[], %(subjects)s::uuid[], %(slices)s::bigint[],"
        " %(deltas)s::numeric[]) AS d(limit_id, subject_id, slice, delta)"
        " JOIN locked USING (limit_id, subject_id)"
        " WHERE b.limit_id = d.limit_id AND b.subject_id = d.subject_id AND b.slice = d.slice"
        " RETURNING b.limit_id, b.subject_id, d.delta),"
        " sums AS (SELECT limit_id, subject_id, sum(delta) AS delta FROM moved GROUP BY 1, 2)"
        " UPDATE credit_windows AS w SET total = w.total + s.delta FROM sums AS s"
        " WHERE w.limit_id = s.limit_id AND w.subject_id = s.subject_id",
        {
            "limits": [place[0] for place in changed],
            "subjects": [place[1] for place in changed],
            "slices": [place[2] for place in changed],
            "deltas": list(changed.values()),
        },
    )
