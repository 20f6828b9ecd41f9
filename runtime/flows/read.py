"""Reads flow runs and their node runs, for those who may see them.

A node's output may have 20 MB, so lists leave out what is large, and do not read it either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.pages import newest_tests, newest_values, page, tests_of

__all__ = [
    "LISTED",
    "RunFilter",
    "changed_node_runs",
    "count_flow_runs",
    "downstream_of",
    "find_flow_run",
    "find_node_run",
    "list_flow_runs",
    "list_node_runs",
    "node_counts",
    "output_of",
    "whole_flow_runs",
]

#: Bytes up to which a list shows an input or an output.
LISTED = 16_384

_RUN = (
    "id, tenant_id, status, error, meta, element_id, element_key, element_revision,"
    " integration_id, connection_id, due_at, waiting, queue, created_at, started_at, finished_at"
)
_LISTED_RUN = (
    f"{_RUN}, request - 'definition' AS request,"
    f" CASE WHEN pg_column_size(input) <= {LISTED} THEN input END AS input,"
    f" coalesce(pg_column_size(input), 0) > {LISTED} AS is_input_large"
)
_WHOLE_RUN = f"{_RUN}, request, input, false AS is_input_large"

# An input that is a large output of the parent's is kept there only.
_NODE = """
SELECT n.run_id, n.id, n.node_key, n.parent_id, n.item, n.status, n.output_number, n.output_sizes,
    n.error, n.logs, n.attempt, n.waiting, n.due_at, n.child_id, n.started_at, n.finished_at,
    p.node_key AS parent_key, (p.output_sizes->>n.output_number)::int AS given_size, {columns}
FROM node_runs AS n LEFT JOIN node_runs AS p ON p.run_id = n.run_id AND p.id = n.parent_id
WHERE n.run_id = %(run)s
"""
_LISTED_NODE = _NODE.format(
    columns=f"""
    CASE WHEN pg_column_size(n.input) <= {LISTED} THEN n.input END AS input,
    coalesce(pg_column_size(n.input), 0) > {LISTED} AS is_input_large,
    CASE WHEN pg_column_size(n.outputs) <= {LISTED} THEN n.outputs END AS outputs"""
)
_WHOLE_NODE = _NODE.format(
    columns="""
    coalesce(n.input, p.outputs->n.output_number) AS input, false AS is_input_large, n.outputs"""
)
_PAGE = (
    f"{_LISTED_NODE} AND n.node_key = %(node)s"
    " ORDER BY n.started_at, n.item, n.id LIMIT %(limit)s OFFSET %(offset)s"
)
_ONE = f"{_WHOLE_NODE} AND n.node_key = %(node)s AND n.id = %(id)s"
_CHANGED = (
    _NODE.format(
        columns="""
    NULL::jsonb AS input, n.input IS NOT NULL AS is_input_large, NULL::jsonb AS outputs,
    now() AS moment"""
    )
    + " AND (%(since)s::timestamptz IS NULL OR n.finished_at IS NULL OR n.finished_at >= %(since)s)"
    " ORDER BY n.started_at, n.item, n.id"
)
_DOWNSTREAM = """
SELECT id, node_key, parent_id, output_number FROM node_runs
WHERE run_id = %s AND parent_id = ANY(%s) AND output_number IS NOT NULL ORDER BY started_at, id
"""
_COUNTS = """
SELECT node_key, count(*) AS runs, count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'waiting') AS waiting,
    count(*) FILTER (WHERE status = 'running') AS running,
    coalesce(sum(jsonb_array_length(output_sizes)), 0)::int AS outputs
FROM node_runs WHERE run_id = %s GROUP BY node_key
"""

# The runs over integrations whose connector is one for an app, which is named by id or key; a
# connector that names no app is its own.
_OF_APP = """
integration_id IN (
    SELECT i.id FROM elements AS i
    JOIN elements AS c ON c.kind = 'connector' AND c.key = i.spec->>'connectorKey'
    WHERE i.kind = 'integration' AND i.workspace_id = %(workspace)s AND (
        coalesce(c.spec->>'externalApp', c.key) = %(external_app)s
        OR EXISTS (SELECT FROM elements AS a WHERE a.kind = 'external-app'
            AND a.id::text = %(external_app)s AND a.key = coalesce(c.spec->>'externalApp', c.key))))
"""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which flow runs are meant: made at `since` or later, and before `until`."""

    #: Column -> value; the columns are the caller's own words.
    columns: Mapping[str, Any]
    since: datetime | None = None
    until: datetime | None = None
    #: Id or key.
    external_app: str | None = None


async def find_flow_run(connection: AsyncConnection[DictRow], run_id: UUID) -> DictRow | None:
    """Return a flow run that this scope may see, without its output."""
    cursor = await connection.execute(
        f"SELECT {_WHOLE_RUN} FROM runs WHERE id = %s AND kind = 'flow'",  # noqa: S608 - our own column list
        (run_id,),
    )
    return await cursor.fetchone()


async def output_of(connection: AsyncConnection[DictRow], run_id: UUID) -> Any:
    """Return what a flow run came to."""
    cursor = await connection.execute("SELECT output FROM runs WHERE id = %s", (run_id,))
    row = await cursor.fetchone()
    return row["output"] if row is not None else None


async def list_flow_runs(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    wanted: RunFilter,
    *,
    before: UUID | None = None,
    limit: int,
) -> list[DictRow]:
    """Return the newest flow runs that fit, without what is large; one more than the limit.

    `before` is the id after which a page goes on.
    """
    return await _runs(connection, _LISTED_RUN, workspace_id, wanted, before, limit)


async def whole_flow_runs(
    connection: AsyncConnection[DictRow], workspace_id: UUID, wanted: RunFilter, *, limit: int
) -> list[DictRow]:
    """Return the newest flow runs that fit, with all that a new run of the same kind needs."""
    found = await _runs(connection, _WHOLE_RUN, workspace_id, wanted, None, limit)
    return found[:limit]


async def count_flow_runs(
    connection: AsyncConnection[DictRow], workspace_id: UUID, wanted: RunFilter
) -> int:
    """Return how many flow runs fit."""
    counted = "id, count(*) OVER () AS fitting"
    found = await _runs(connection, counted, workspace_id, wanted, None, 1)
    return int(found[0]["fitting"]) if found else 0


async def _runs(
    connection: AsyncConnection[DictRow],
    columns: str,
    workspace_id: UUID,
    wanted: RunFilter,
    before: UUID | None,
    limit: int,
) -> list[DictRow]:
    tests = {**tests_of(wanted.columns, "r"), **newest_tests("r"), "external_app": _OF_APP}
    tests["workspace"] += " AND r.kind = 'flow'"
    values = {
        **wanted.columns,
        **newest_values(workspace_id, before, (wanted.since, wanted.until)),
        "external_app": wanted.external_app,
    }
    select = f"SELECT {columns} FROM runs AS r"  # noqa: S608 - column names are ours
    return await page(connection, select, tests, values, by="r.id DESC", limit=limit)


async def node_counts(
    connection: AsyncConnection[DictRow], run_id: UUID
) -> dict[str, Mapping[str, int]]:
    """Return how many runs each node has had: node key -> runs, failed, waiting, running, …"""
    rows = await (await connection.execute(_COUNTS, (run_id,))).fetchall()
    return {row.pop("node_key"): row for row in rows}


async def list_node_runs(
    connection: AsyncConnection[DictRow],
    run_id: UUID,
    node_key: str,
    *,
    offset: int = 0,
    limit: int = 100,
) -> list[DictRow]:
    """Return runs of a node in the order in which they began, without what is large."""
    values = {"run": run_id, "node": node_key, "limit": limit, "offset": offset}
    return await (await connection.execute(_PAGE, values)).fetchall()


async def find_node_run(
    connection: AsyncConnection[DictRow], run_id: UUID, node_key: str, node_run: UUID
) -> DictRow | None:
    """Return one run of a node with all that it got and passed on."""
    values = {"run": run_id, "node": node_key, "id": node_run}
    return await (await connection.execute(_ONE, values)).fetchone()


async def changed_node_runs(
    connection: AsyncConnection[DictRow], run_id: UUID, since: datetime | None
) -> tuple[list[DictRow], datetime]:
    """Return the node runs that go on, or ended after a moment, and the moment of this look.

    Without inputs and outputs: those may be large, and are read one by one.
    """
    rows = await (await connection.execute(_CHANGED, {"run": run_id, "since": since})).fetchall()
    if rows:
        return rows, rows[0]["moment"]
    (clock,) = await (await connection.execute("SELECT now() AS moment")).fetchall()
    return [], clock["moment"]


async def downstream_of(
    connection: AsyncConnection[DictRow], run_id: UUID, node_runs: Sequence[UUID]
) -> dict[tuple[UUID, int], list[DictRow]]:
    """Return the node runs that each output went to: (node run, number of the output) -> those."""
    found: dict[tuple[UUID, int], list[DictRow]] = defaultdict(list)
    if node_runs:
        cursor = await connection.execute(_DOWNSTREAM, (run_id, list(node_runs)))
        for row in await cursor.fetchall():
            found[row["parent_id"], row["output_number"]].append(row)
    return found
