"""Dead letters: failed runs that nobody has dealt with yet. Read, driven again, put away.

A run that has failed stays failed. Driving it again makes a new run of the same input, and the two
know each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.pages import page
from runtime.runs.read import COLUMNS
from runtime.runs.states import NewRun
from runtime.tenancy import Owner, Scope

__all__ = ["DeadFilter", "find_dead", "list_dead", "mark_redriven", "put_away", "repeat_dead"]

_SELECT = f"SELECT {COLUMNS} FROM runs"  # noqa: S608 - our own column list


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Which dead letters are meant; newest first, those older than `before`."""

    ids: Sequence[UUID] | None = None
    reason: str | None = None
    tenant_id: UUID | None = None
    element_id: UUID | None = None
    connection_id: UUID | None = None
    before: UUID | None = None
    limit: int = 50


async def list_dead(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: DeadFilter
) -> list[DictRow]:
    """Return the dead letters that fit, one more than the limit if there are more."""
    tests = {
        "ids": "id = ANY(%(ids)s)",
        "reason": "dead_reason = %(reason)s",
        "tenant_id": "tenant_id = %(tenant_id)s",
        "element_id": "element_id = %(element_id)s",
        "connection_id": "connection_id = %(connection_id)s",
        "before": "id < %(before)s",
        "workspace": "workspace_id = %(workspace)s AND dead_reason IS NOT NULL",
    }
    tenant = scope.tenant_id or wanted.tenant_id
    values = {**asdict(wanted), "tenant_id": tenant, "workspace": scope.workspace_id}
    return await page(connection, _SELECT, tests, values, by="id DESC", limit=wanted.limit)


async def find_dead(connection: AsyncConnection[DictRow], run_id: UUID) -> DictRow | None:
    """Return a dead letter that this scope may see."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM runs WHERE id = %s AND dead_reason IS NOT NULL",  # noqa: S608 - ours
        (run_id,),
    )
    return await cursor.fetchone()


async def repeat_dead(
    connection: AsyncConnection[DictRow], owner: Owner, run_ids: Sequence[UUID]
) -> list[NewRun]:
    """Return a new run for each dead letter of a tenant among these, and keep others off it."""
    cursor = await connection.execute(
        "SELECT id, kind, queue, request, input, meta, element_id, element_key, element_revision,"
        " integration_id, connection_id, priority FROM runs"
        " WHERE tenant_id = %s AND id = ANY(%s) AND dead_reason IS NOT NULL"
        " ORDER BY id FOR UPDATE",
        (owner.tenant_id, list(run_ids)),
    )
    return [_again(row) for row in await cursor.fetchall()]


def _again(row: DictRow) -> NewRun:
    queue = "default" if row["queue"] == "sync" else row["queue"]  # nobody waits any more
    changed = {"id": uuid_utils.compat.uuid7(), "queue": queue, "redrive_of": row["id"]}
    return NewRun(**{**row, **changed})


async def mark_redriven(connection: AsyncConnection[DictRow], again: Mapping[UUID, UUID]) -> None:
    """Take dead letters off the list: they were driven again, dead letter -> new run."""
    await connection.execute(
        "UPDATE runs AS r SET dead_reason = NULL, redriven_as = i.again"
        " FROM unnest(%s::uuid[], %s::uuid[]) AS i(id, again) WHERE r.id = i.id",
        (list(again), list(again.values())),
    )


async def put_away(connection: AsyncConnection[DictRow], run_ids: Sequence[UUID]) -> int:
    """Take dead letters off the list for good; the runs stay on record. Return how many."""
    cursor = await connection.execute(
        "UPDATE runs SET dead_reason = NULL WHERE id = ANY(%s) AND dead_reason IS NOT NULL",
        (list(run_ids),),
    )
    return cursor.rowcount
