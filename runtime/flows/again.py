"""Starts a flow run over: from its beginning, from where it failed, or from any of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import BadRequestError
from runtime.flows.launch import launched
from runtime.runs.states import NewRun

__all__ = ["copy_results", "forked", "keepable", "repeated"]

_KEPT = ("definition", "revision", "instanceKey", "instanceId")

_RESULTS = "SELECT id, parent_id, item, node_key, status FROM node_runs WHERE run_id = %s"

_COPY = """
INSERT INTO node_runs (run_id, id, workspace_id, tenant_id, node_key, parent_id, item, status,
    output_number, input, outputs, output_sizes, error, logs, attempt, child_id, started_at,
    finished_at)
SELECT %(again)s, id, workspace_id, tenant_id, node_key, parent_id, item, status, output_number,
    input, outputs, output_sizes, error, logs, attempt, child_id, started_at, finished_at
FROM node_runs WHERE run_id = %(run)s AND id = ANY(%(ids)s::uuid[])
"""


def repeated(row: DictRow, **more: Any) -> NewRun:
    """Return a run of the same flow as it was, with the same input."""
    request = row["request"]
    return launched(
        run_id=uuid_utils.compat.uuid7(),
        flow_id=row["element_id"],
        flow_key=row["element_key"],
        node_key=request["startNodeKey"],
        input=row["input"],
        launched_by=request["launchedBy"],
        integration_id=row["integration_id"],
        connection_id=row["connection_id"],
        queue=row["queue"],
        meta=row["meta"],
        pinned={**{key: request[key] for key in _KEPT if key in request}, **more},
    )


def forked(row: DictRow, *, overrides: Mapping[str, Any] | None = None) -> NewRun:
    """Return a run that goes on from results of this one; `overrides`: node run id -> input."""
    request = row["request"]
    more: dict[str, Any] = {
        "origin": request.get("origin") or str(row["id"]),
        "resumedFrom": str(row["id"]),
    }
    known = {**request.get("overrides", {}), **(overrides or {})}
    if known:
        more["overrides"] = known
    return repeated(row, **more)


async def keepable(
    connection: AsyncConnection[DictRow], run_id: UUID, *, but: UUID | None = None
) -> list[UUID]:
    """Return the node runs whose results still hold: those that ended well.

    Without `but`, what came from it, and the for-eaches that it was an item's part of.
    Raises BadRequestError if the run has no node run `but`.
    """
    rows = await (await connection.execute(_RESULTS, (run_id,))).fetchall()
    by_id = {row["id"]: row for row in rows}
    if but is not None and but not in by_id:
        raise BadRequestError(f"The flow run has no node run {but}.", data={"path": "/nodeRunId"})
    dropped = _containers(by_id, but) if but is not None else set()
    return [
        row["id"]
        for row in rows
        if row["status"] in ("completed", "skipped")
        and row["id"] not in dropped
        and (but is None or not _comes_from(by_id, row["id"], but))
        and not any(_follows(by_id, row["id"], each) for each in dropped)
        and not _comes_from_failure(by_id, row["id"])
    ]


def _comes_from(rows: Mapping[UUID, DictRow], node_run: UUID, origin: UUID) -> bool:
    place: UUID | None = node_run
    while place is not None:
        if place == origin:
            return True
        place = rows[place]["parent_id"] if place in rows else None
    return False


def _comes_from_failure(rows: Mapping[UUID, DictRow], node_run: UUID) -> bool:
    """Return whether it got the error of a node that failed, and is run again now."""
    place: UUID | None = node_run
    while place is not None and place in rows:
        parent = rows[place]["parent_id"]
        if parent in rows and rows[parent]["status"] == "failed" and not _is_item(rows, place):
            return True
        place = parent
    return False


def _is_item(rows: Mapping[UUID, DictRow], place: UUID) -> bool:
    """Return whether a node run is the first of a for-each's body, not what follows one by link."""
    row = rows[place]
    parent = rows.get(row["parent_id"]) if row["parent_id"] else None
    return parent is not None and row["item"] is not None and row["item"] != parent["item"]


def _containers(rows: Mapping[UUID, DictRow], node_run: UUID) -> set[UUID]:
    """Return the for-eaches that a node run is inside of; each has to gather anew."""
    found: set[UUID] = set()
    place: UUID | None = node_run
    while place is not None and place in rows:
        if _is_item(rows, place):
            found.add(rows[place]["parent_id"])
        place = rows[place]["parent_id"]
    return found


def _follows(rows: Mapping[UUID, DictRow], node_run: UUID, loop: UUID) -> bool:
    """Return whether a node run came after a for-each, by its links and not inside its body."""
    place: UUID | None = node_run
    while place is not None and place in rows:
        parent = rows[place]["parent_id"]
        if parent == loop:
            return not _is_item(rows, place)
        place = parent
    return False


async def copy_results(
    connection: AsyncConnection[DictRow], run_id: UUID, again: UUID, ids: Sequence[UUID]
) -> None:
    """Give the run `again` the results of `run_id` that it starts from."""
    await connection.execute(_COPY, {"run": run_id, "again": again, "ids": list(ids)})
