"""Shows flow runs and their node runs to those who may see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

__all__ = [
    "find_flow_run",
    "list_flow_runs",
    "list_node_runs",
    "node_counts",
    "public_flow_run",
    "public_node_run",
]

_RUN = (
    "id, tenant_id, status, input, output, error, meta, request, element_id, element_key,"
    " element_revision, integration_id, connection_id, due_at, waiting, queue, created_at,"
    " started_at, finished_at"
)
_NODE = (
    "run_id, id, node_key, parent_id, item, status, input, outputs, error, logs, attempt, waiting,"
    " due_at, child_id, started_at, finished_at"
)


async def find_flow_run(connection: AsyncConnection[DictRow], run_id: UUID) -> DictRow | None:
    """Return a flow run that this scope may see."""
    cursor = await connection.execute(
        f"SELECT {_RUN} FROM runs WHERE id = %s AND kind = 'flow'",  # noqa: S608 - our own column list
        (run_id,),
    )
    return await cursor.fetchone()


async def list_flow_runs(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    narrowed: Mapping[str, Any],
    *,
    before: UUID | None,
    limit: int,
) -> list[DictRow]:
    """Return the newest flow runs that fit: column -> value; one more than the limit if there are.

    `before` is the id after which a page goes on. The columns are the caller's own words.
    """
    conditions = ["workspace_id = %(workspace)s", "kind = 'flow'"]
    values: dict[str, Any] = {"workspace": workspace_id, "limit": limit + 1, "before": before}
    for column, value in narrowed.items():
        conditions.append(f"{column} = %({column})s")
        values[column] = value
    if before is not None:
        conditions.append("id < %(before)s")
    cursor = await connection.execute(
        f"SELECT {_RUN} FROM runs WHERE {' AND '.join(conditions)}"  # noqa: S608 - column names are ours
        " ORDER BY id DESC LIMIT %(limit)s",
        values,
    )
    return await cursor.fetchall()


async def node_counts(
    connection: AsyncConnection[DictRow], run_id: UUID
) -> dict[str, dict[str, int]]:
    """Return how many runs each node has had: node key -> status -> number."""
    cursor = await connection.execute(
        "SELECT node_key, status, count(*) AS runs FROM node_runs WHERE run_id = %s GROUP BY 1, 2",
        (run_id,),
    )
    counts: dict[str, dict[str, int]] = {}
    for row in await cursor.fetchall():
        counts.setdefault(row["node_key"], {})[row["status"]] = row["runs"]
    return counts


async def list_node_runs(
    connection: AsyncConnection[DictRow],
    run_id: UUID,
    node_key: str | None = None,
    *,
    node_run: UUID | None = None,
    offset: int = 0,
    limit: int = 100,
) -> list[DictRow]:
    """Return runs of a node, or of all, in the order in which they began."""
    cursor = await connection.execute(
        f"SELECT {_NODE} FROM node_runs WHERE run_id = %(run)s"  # noqa: S608 - our own column list
        " AND (%(node)s::text IS NULL OR node_key = %(node)s)"
        " AND (%(id)s::uuid IS NULL OR id = %(id)s)"
        " ORDER BY started_at, item, id LIMIT %(limit)s OFFSET %(offset)s",
        {"run": run_id, "node": node_key, "id": node_run, "limit": limit, "offset": offset},
    )
    return await cursor.fetchall()


def public_flow_run(
    row: DictRow, counts: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    """Return a flow run as the API shows it; `counts` are those of `node_counts`."""
    request = row["request"]
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "state": row["status"],
        "flowId": _text(row["element_id"]),
        # What the same flow is started by again, with its connection and all.
        "flowInstanceId": request.get("instanceId") or _text(row["element_id"]),
        "connectionFlowId": request.get("instanceId"),
        "universalFlowId": _text(row["element_id"]),
        "flowKey": row["element_key"],
        "flowRevision": request.get("revision") or row["element_revision"],
        "startNodeKey": request["startNodeKey"],
        "launchedBy": request["launchedBy"],
        "integrationId": _text(row["integration_id"]),
        "connectionId": _text(row["connection_id"]),
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "input": row["input"],
        "errors": [row["error"]] if row["error"] else [],
        "meta": row["meta"],
        "waiting": row["waiting"] if row["status"] == "queued" else None,
        "repeatOf": request.get("repeatOf"),
        "resumedFrom": request.get("resumedFrom"),
        "parentRunId": request.get("parentRunId"),
        "createdAt": row["created_at"],
        "startTime": row["started_at"],
        "endTime": row["finished_at"],
    }
    if counts is not None:
        pinned = orjson.loads(request.get("definition") or "{}").get("nodes", {})
        shown["nodes"] = {
            key: {"type": node["type"], "runs": dict(counts.get(key, {}))}
            for key, node in pinned.items()
        }
    return shown


def public_node_run(row: DictRow, *, ended: bool) -> dict[str, Any]:
    """Return a node run as the API shows it; in a run that has ended nothing goes on."""
    status = "stopped" if ended and row["status"] in ("running", "waiting") else row["status"]
    return {
        "id": str(row["id"]),
        "flowRunId": str(row["run_id"]),
        "nodeKey": row["node_key"],
        "parentId": _text(row["parent_id"]),
        "item": row["item"],
        "status": status,
        "input": row["input"],
        "outputs": row["outputs"] or [],
        "error": row["error"],
        "logs": row["logs"] or [],
        "attempt": row["attempt"],
        "waiting": row["waiting"],
        "dueAt": row["due_at"],
        "childFlowRunId": _text(row["child_id"]),
        "startTime": row["started_at"],
        "endTime": row["finished_at"],
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None
