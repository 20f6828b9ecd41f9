"""Writes accepted runs, and the idempotency keys that make the same request one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.runs.states import NewRun
from runtime.tenancy import Owner

__all__ = ["IdempotentRun", "claim_key", "insert_runs"]

_INSERT = """
INSERT INTO runs (id, workspace_id, tenant_id, kind, queue, request, input, meta, element_id,
                  element_key, element_revision, integration_id, connection_id, priority,
                  redrive_of, sent_at)
SELECT id, %(workspace)s, %(tenant)s, kind, queue, request, input, meta, element_id,
       element_key, element_revision, integration_id, connection_id, priority,
       redrive_of, CASE WHEN %(sent)s THEN now() END
FROM jsonb_to_recordset(%(rows)s::jsonb) AS new(
    id uuid, kind text, queue text, request jsonb, input jsonb, meta jsonb, element_id uuid,
    element_key text, element_revision text, integration_id uuid, connection_id uuid,
    priority smallint, redrive_of uuid)
"""

_CLAIM_KEY = """
INSERT INTO idempotency_keys (tenant_id, key, workspace_id, fingerprint, run_id, expires_at)
VALUES (%(tenant)s, %(key)s, %(workspace)s, %(fingerprint)s, %(run)s, now() + interval '24 hours')
ON CONFLICT (tenant_id, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, run_id = excluded.run_id,
    created_at = now(), expires_at = excluded.expires_at
WHERE idempotency_keys.expires_at < now()
RETURNING run_id
"""


@dataclass(frozen=True, slots=True)
class IdempotentRun:
    """The run that a key already stands for, and what was asked for then."""

    run_id: UUID
    fingerprint: bytes


async def insert_runs(
    connection: AsyncConnection[DictRow],
    owner: Owner,
    runs: Sequence[NewRun],
    *,
    sent: bool = True,
) -> None:
    """Write runs of one tenant as `queued`. They are accepted when the transaction commits.

    `sent` if the queue will be told of them; otherwise they wait for their turn in the table.
    """
    rows = jsontext.dumps(
        [{name: getattr(run, name) for name in NewRun.__dataclass_fields__} for run in runs]
    )
    await connection.execute(
        _INSERT,
        {
            "workspace": owner.workspace_id,
            "tenant": owner.tenant_id,
            "rows": rows,
            "sent": sent,
        },
    )


async def claim_key(
    connection: AsyncConnection[DictRow],
    owner: Owner,
    *,
    key: str,
    fingerprint: bytes,
    run_id: UUID,
) -> IdempotentRun | None:
    """Take an idempotency key for a run, or return the run that has it.

    Waits for a transaction that is just taking the same key; the caller sets `lock_timeout`.
    """
    cursor = await connection.execute(
        _CLAIM_KEY,
        {
            "tenant": owner.tenant_id,
            "workspace": owner.workspace_id,
            "key": key,
            "fingerprint": fingerprint,
            "run": run_id,
        },
    )
    if await cursor.fetchone() is not None:
        return None
    cursor = await connection.execute(
        "SELECT run_id, fingerprint FROM idempotency_keys WHERE tenant_id = %s AND key = %s",
        (owner.tenant_id, key),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it was just in the way
    return IdempotentRun(row["run_id"], bytes(row["fingerprint"]))
