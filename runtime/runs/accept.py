"""Writes accepted runs, and the idempotency keys that make the same request one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.db import Query
from runtime.outbox import flows_queued
from runtime.runs.states import NewRun
from runtime.tenancy import Owner

__all__ = [
    "IdempotentRun",
    "KeyClaim",
    "claim_keys",
    "free_keys",
    "insert_once",
    "insert_runs",
    "insertions",
    "mark_unsent",
]

_INSERT = """
INSERT INTO runs (id, workspace_id, tenant_id, kind, queue, request, input, meta, element_id,
                  element_key, element_revision, integration_id, connection_id, priority,
                  redrive_of, sent_at)
SELECT id, %(workspace)s, %(tenant)s, kind, queue, request, input, meta, element_id,
       element_key, element_revision, integration_id, connection_id, priority,
       redrive_of, CASE WHEN waits_in_table THEN NULL ELSE now() END
FROM jsonb_to_recordset(%(rows)s::jsonb) AS new(
    id uuid, kind text, queue text, request jsonb, input jsonb, meta jsonb, element_id uuid,
    element_key text, element_revision text, integration_id uuid, connection_id uuid,
    priority smallint, redrive_of uuid, waits_in_table boolean)
"""

# Of many tenants at once, and each run once: whoever makes a run again under its id makes nothing.
_INSERT_ONCE = """
INSERT INTO runs (id, workspace_id, tenant_id, kind, queue, request, input, meta, element_id,
                  element_key, integration_id, connection_id)
SELECT id, workspace_id, tenant_id, kind, queue, request, input, meta, element_id, element_key,
       integration_id, connection_id
FROM jsonb_to_recordset(%s::jsonb) AS new(
    id uuid, workspace_id uuid, tenant_id uuid, kind text, queue text, request jsonb, input jsonb,
    meta jsonb, element_id uuid, element_key text, integration_id uuid, connection_id uuid)
ON CONFLICT (id) DO NOTHING RETURNING id
"""

# In the order of the keys, so that two batches never wait for each other in a circle.
_CLAIM_KEYS = """
INSERT INTO idempotency_keys (tenant_id, key, workspace_id, fingerprint, run_id, expires_at)
SELECT %(tenant)s, k.key, %(workspace)s, k.fingerprint, k.run_id, now() + interval '24 hours'
FROM unnest(%(keys)s::text[], %(fingerprints)s::bytea[], %(runs)s::uuid[])
    AS k(key, fingerprint, run_id)
ORDER BY k.key
ON CONFLICT (tenant_id, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, run_id = excluded.run_id,
    created_at = now(), expires_at = excluded.expires_at
WHERE idempotency_keys.expires_at < now()
RETURNING key
"""


@dataclass(frozen=True, slots=True)
class IdempotentRun:
    """The run that a key already stands for, and what was asked for then."""

    run_id: UUID
    fingerprint: bytes


async def insert_runs(
    connection: AsyncConnection[DictRow], owner: Owner, runs: Sequence[NewRun]
) -> None:
    """Write runs of one tenant as `queued`. They are accepted when the transaction commits."""
    for query in insertions(owner, runs):
        await connection.execute(*query)


def insertions(owner: Owner, runs: Sequence[NewRun]) -> list[Query]:
    """Return the statements that do so."""
    rows = jsontext.dumps(
        [{name: getattr(run, name) for name in NewRun.__dataclass_fields__} for run in runs]
    )
    values = {"workspace": owner.workspace_id, "tenant": owner.tenant_id, "rows": rows}
    flows = [run.id for run in runs if run.kind == "flow"]
    return [Query(_INSERT, values), *([flows_queued(flows)] if flows else [])]


async def insert_once(
    connection: AsyncConnection[DictRow], runs: Sequence[tuple[Owner, NewRun]]
) -> set[UUID]:
    """Write runs of several tenants as `queued`, those that are not there yet; return their ids."""
    if not runs:
        return set()
    rows = jsontext.dumps(
        [
            {
                "workspace_id": owner.workspace_id,
                "tenant_id": owner.tenant_id,
                **{name: getattr(run, name) for name in NewRun.__dataclass_fields__},
            }
            for owner, run in runs
        ]
    )
    cursor = await connection.execute(_INSERT_ONCE, (rows,))
    made = {row["id"] for row in await cursor.fetchall()}
    if flows := [run.id for _, run in runs if run.kind == "flow" and run.id in made]:
        await connection.execute(*flows_queued(flows))
    return made


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """An idempotency key, a hash of what is asked for under it, and the run that would do it."""

    key: str
    fingerprint: bytes
    run_id: UUID


async def claim_keys(
    connection: AsyncConnection[DictRow], owner: Owner, claims: Sequence[KeyClaim]
) -> dict[str, IdempotentRun]:
    """Take idempotency keys, each named once; return those that are taken, and by which run.

    Waits for a transaction that is just taking one of them; the caller sets `lock_timeout`.
    """
    cursor = await connection.execute(
        _CLAIM_KEYS,
        {
            "tenant": owner.tenant_id,
            "workspace": owner.workspace_id,
            "keys": [claim.key for claim in claims],
            "fingerprints": [claim.fingerprint for claim in claims],
            "runs": [claim.run_id for claim in claims],
        },
    )
    ours = {row["key"] for row in await cursor.fetchall()}
    taken = [claim.key for claim in claims if claim.key not in ours]
    if not taken:
        return {}
    cursor = await connection.execute(
        "SELECT key, run_id, fingerprint FROM idempotency_keys"
        " WHERE tenant_id = %s AND key = ANY(%s)",
        (owner.tenant_id, taken),
    )
    return {
        row["key"]: IdempotentRun(row["run_id"], bytes(row["fingerprint"]))
        for row in await cursor.fetchall()
    }


async def free_keys(
    connection: AsyncConnection[DictRow], owner: Owner, keys: Sequence[str]
) -> None:
    """Give back keys that were just taken for requests which are refused after all."""
    await connection.execute(
        "DELETE FROM idempotency_keys WHERE tenant_id = %s AND key = ANY(%s)",
        (owner.tenant_id, list(keys)),
    )


async def mark_unsent(
    connection: AsyncConnection[DictRow], owner: Owner, run_ids: Sequence[UUID]
) -> None:
    """Note that the queue has no room for these runs: they wait for their turn in the table."""
    await connection.execute(
        "UPDATE runs SET sent_at = NULL WHERE tenant_id = %s AND id = ANY(%s)"
        " AND status = 'queued' AND due_at IS NULL",
        (owner.tenant_id, list(run_ids)),
    )
