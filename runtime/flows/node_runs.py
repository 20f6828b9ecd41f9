"""The checkpoints of flow runs: many at once, each written by the worker that holds its run."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from runtime import jsontext
from runtime.batching import Batcher
from runtime.credits.ledger import settle
from runtime.db import Database, Query
from runtime.flows.faults import SupersededError
from runtime.news import Watched
from runtime.outbox import flows_started
from runtime.runs.partitions import among
from runtime.runs.states import Claim
from runtime.tenancy import Scope

__all__ = ["NodeRecords", "NodeRun", "child_id", "first_id", "reservation_id"]

_SPACE = UUID("5f0f6d2e-7e0b-4c35-9a3c-6a8f3f0a9d11")

#: Bytes up to which a node's outputs are read together with those of all others.
_SMALL = 4096
#: Bytes from which an input that is the parent's output is not kept a second time.
_LARGE = 16_384
#: Bytes of a checkpoint that is written by itself: what is written at once may have 256 MB.
_ALONE = 1024 * 1024

# Of a large output the row holds a pointer, whose size is not what costs; it is left there.
_BEGIN = f"""
SELECT id, node_key, parent_id, item, status, error, usage, attempt, called_at, waiting, due_at,
    signal, child_id, output_sizes, extract(epoch FROM due_at - now())::float8 AS delay,
    CASE WHEN pg_column_size(outputs) <= {_SMALL} THEN outputs END AS outputs,
    outputs IS NOT NULL AND pg_column_size(outputs) > {_SMALL} AS is_elsewhere
FROM node_runs WHERE run_id = %s
"""  # noqa: S608 - a number of our own

# Only under the lease: a worker that was superseded writes no checkpoint over its successor's.
_WRITE = """
INSERT INTO node_runs AS n (run_id, id, workspace_id, tenant_id, node_key, parent_id, item, status,
    output_number, input, outputs, output_sizes, error, logs, usage, attempt, called_at, waiting,
    due_at, child_id, started_at, finished_at)
SELECT w.run_id, w.id, r.workspace_id, r.tenant_id, w.node_key, w.parent_id, w.item, w.status,
    w.output_number, w.input, w.outputs, w.output_sizes, w.error, w.logs, w.usage, w.attempt,
    CASE WHEN w.called THEN now() END, w.waiting,
    coalesce(w.due_at, now() + make_interval(secs => w.delay)), w.child_id,
    now() - make_interval(secs => w.lasted),
    CASE WHEN w.status IN ('completed', 'failed', 'skipped') THEN now() END
FROM jsonb_to_recordset(%(rows)s::jsonb) AS w(run_id uuid, token uuid, id uuid, node_key text,
    parent_id uuid, item int, status text, output_number int, input jsonb, outputs jsonb,
    output_sizes jsonb, error jsonb, logs jsonb, usage jsonb, attempt int, called boolean,
    waiting jsonb, due_at timestamptz, delay float8, child_id uuid, lasted float8)
JOIN runs AS r ON r.id = w.run_id AND r.lease_token = w.token AND r.status = 'running'
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid
ON CONFLICT (run_id, id) DO UPDATE SET status = excluded.status, outputs = excluded.outputs,
    output_sizes = excluded.output_sizes, error = excluded.error, logs = excluded.logs,
    usage = excluded.usage, attempt = excluded.attempt, called_at = excluded.called_at,
    waiting = excluded.waiting, due_at = excluded.due_at,
    child_id = coalesce(excluded.child_id, n.child_id), finished_at = excluded.finished_at
RETURNING run_id, id
"""


def first_id(origin: UUID) -> UUID:
    """Return the id of the first node run of a flow run."""
    return uuid.uuid5(_SPACE, str(origin))


def child_id(parent: UUID, name: str) -> UUID:
    """Return the id of the node run that follows `parent` by the way `name`."""
    return uuid.uuid5(parent, name)


def reservation_id(run_id: UUID, node_run: UUID) -> UUID:
    """Return the id under which a node run reserves credits; repeats of a run share its own."""
    return uuid.uuid5(run_id, str(node_run))


@dataclass(slots=True)
class NodeRun:
    """One run of one node, as far as it has come."""

    id: UUID
    node_key: str
    parent_id: UUID | None = None
    item: int | None = None
    status: Literal["running", "waiting", "completed", "failed", "skipped"] = "running"
    input: Any = None
    #: Which of its parent's outputs the input is, and how many bytes that has.
    output_number: int | None = None
    input_size: int = 0
    outputs: list[Any] | None = None
    #: Bytes of each output.
    output_sizes: list[int] | None = None
    error: dict[str, Any] | None = None
    logs: list[dict[str, Any]] | None = None
    usage: dict[str, float] | None = None
    attempt: int = 1
    called_at: datetime | None = None
    waiting: dict[str, Any] | None = None
    due_at: datetime | None = None
    signal: dict[str, Any] | None = None
    child_id: UUID | None = None
    #: Seconds from now until it is due, by the database's clock; it is written when a wait begins,
    #: instead of `due_at`.
    delay: float | None = field(default=None, compare=False)
    #: Seconds that it has taken.
    lasted: float = field(default=0.0, compare=False)
    #: Whether a call is about to be made that must not be made twice.
    calls: bool = field(default=False, compare=False)
    #: Whether credits are reserved that have to be settled.
    reserved: bool = field(default=False, compare=False)
    #: Whether its outputs are on record and have not been read.
    is_elsewhere: bool = field(default=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of all its outputs."""
        return sum(self.output_sizes or ())


class NodeRecords:
    """Reads and writes node runs, for one event loop."""

    def __init__(self, database: Database, watched: Watched | None = None) -> None:
        """Collect the checkpoints of runs that come at the same time; tell who watches them."""
        self._database = database
        self._watched = watched
        self._writes: Batcher[tuple[Claim, NodeRun], bool] = Batcher(
            self._write, whose=lambda item: item[0].owner
        )

    async def begin(self, claim: Claim) -> dict[UUID, NodeRun]:
        """Return what is on record of a run; a signal from now on is one that is not in there.

        Large outputs are not among it; `read` brings them.
        """
        # Best effort: one whose worker dies right here starts without a word.
        starts = claim.attempt == 1 and claim.parks == 0
        asked = [
            Query(
                "UPDATE runs SET waiting = NULL WHERE id = %s AND lease_token = %s"
                " AND waiting IS NOT NULL RETURNING id",
                (claim.run_id, claim.lease_token),
            ),
            Query(_BEGIN, (claim.run_id,)),
            *([flows_started(claim.run_id)] if starts else []),
        ]
        rows = (await self._database.ask(Scope.worker([claim.owner]), *asked))[1]
        return {row["id"]: NodeRun(**row) for row in rows}

    async def read(self, claim: Claim, node: NodeRun) -> None:
        """Bring the outputs of a node run that are on record only."""
        (rows,) = await self._database.ask(
            Scope.worker([claim.owner]),
            Query(
                "SELECT outputs FROM node_runs WHERE run_id = %s AND id = %s",
                (claim.run_id, node.id),
            ),
        )
        node.outputs, node.is_elsewhere = (rows[0]["outputs"] if rows else None), False

    async def write(self, claim: Claim, node: NodeRun) -> None:
        """Put a node run on record as it is; SupersededError if the run is not ours any more."""
        if node.size + node.input_size > _ALONE:
            ours = (await self._write([(claim, node)]))[0]
        else:
            ours = await self._writes.submit((claim, node))
        if not ours:
            raise SupersededError

    async def note_progress(self, claim: Claim) -> None:
        """Forget how many workers died over a run in a row: this one has got further with it."""
        await self._database.ask(
            Scope.worker([claim.owner]),
            Query(
                "UPDATE runs SET takeovers = 0 WHERE id = %s AND lease_token = %s",
                (claim.run_id, claim.lease_token),
            ),
        )

    async def _write(self, written: Sequence[tuple[Claim, NodeRun]]) -> list[bool]:
        scope = Scope.worker(claim.owner for claim, _ in written)
        rows = jsontext.dumps([_row(claim, node) for claim, node in written])
        query = Query(_WRITE, {"rows": rows, **among([claim.run_id for claim, _ in written])})
        settled = {
            reservation_id(claim.run_id, node.id): node.usage or {}
            for claim, node in written
            if node.reserved and node.status != "running"
        }
        if settled:
            async with self._database.pipelined(scope) as connection:
                cursor = await connection.execute(*query)
                found = await cursor.fetchall()
                await settle(connection, settled)
        else:
            (found,) = await self._database.ask(scope, query)
        ours = {(row["run_id"], row["id"]) for row in found}
        if self._watched is not None:
            self._watched.tell(claim.run_id for claim, _ in written)
        return [(claim.run_id, node.id) in ours for claim, node in written]


def _row(claim: Claim, node: NodeRun) -> dict[str, Any]:
    is_kept_above = node.output_number is not None and node.input_size > _LARGE
    return {
        "run_id": claim.run_id,
        "token": claim.lease_token,
        "id": node.id,
        "node_key": node.node_key,
        "parent_id": node.parent_id,
        "item": node.item,
        "status": node.status,
        "output_number": node.output_number,
        "input": None if is_kept_above else node.input,
        "outputs": node.outputs,
        "output_sizes": node.output_sizes,
        "error": node.error,
        "logs": node.logs,
        "usage": node.usage,
        "attempt": node.attempt,
        "called": node.calls,
        "waiting": node.waiting,
        "due_at": node.due_at,
        "delay": None if node.due_at else node.delay,
        "child_id": node.child_id,
        "lasted": node.lasted,
    }
