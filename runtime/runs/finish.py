"""Ends runs, many at once: result, activity record and usage in one statement.

Whoever no longer holds a run's lease ends nothing, so each run gets exactly one terminal record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import uuid_utils.compat

from runtime import jsontext
from runtime.db import Query
from runtime.outbox import runs_told
from runtime.runs.partitions import among
from runtime.runs.states import Claim, Ending

__all__ = ["finish_query"]

_TOLD = runs_told("""
    SELECT d.*, e.status, e.element_id, e.element_key, e.integration_id, e.connection_id, e.error,
        e.recorded_input AS input, e.recorded_output AS output
    FROM done AS d JOIN ended AS e ON e.id = d.id WHERE d.kind IN ('action', 'flow')
""")

_FINISH = f"""
WITH ended AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS e(
        id uuid, token uuid, status text, output jsonb, error jsonb, element_id uuid,
        element_key text, element_revision text, integration_id uuid, connection_id uuid,
        activity_id uuid, tag text, recorded_input jsonb, recorded_output jsonb,
        credits jsonb, usage_ids uuid[], dead_reason text, logs jsonb)
), done AS (
    UPDATE runs AS r
    SET status = e.status, output = e.output, error = e.error, finished_at = clock_timestamp(),
        lease_token = NULL, lease_until = NULL, due_at = NULL, waiting = NULL,
        dead_reason = e.dead_reason, logs = e.logs,
        element_revision = coalesce(e.element_revision, r.element_revision)
    FROM ended AS e
    WHERE r.id = e.id AND r.id = ANY(%(ids)s::uuid[])
      AND r.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid AND r.lease_token = e.token
      AND r.status = 'running'
    RETURNING r.id, r.workspace_id, r.tenant_id, r.attempt, r.started_at, r.finished_at, r.meta,
        r.kind, r.created_at
), recorded AS (
    INSERT INTO activity_records (id, workspace_id, tenant_id, tag, run_id, status, element_id,
        element_key, element_revision, integration_id, connection_id, attempt, duration_ms, input,
        output, error, credits, meta, started_at)
    SELECT e.activity_id, d.workspace_id, d.tenant_id, e.tag, d.id, e.status, e.element_id,
        e.element_key, e.element_revision, e.integration_id, e.connection_id, d.attempt,
        extract(epoch FROM d.finished_at - d.started_at) * 1000, e.recorded_input,
        e.recorded_output, e.error, e.credits, d.meta, d.started_at
    FROM done AS d JOIN ended AS e ON e.id = d.id
), used AS (
    INSERT INTO usage_records (id, workspace_id, tenant_id, run_id, resource, amount,
        integration_id, connection_id, element_id)
    SELECT e.usage_ids[u.position], d.workspace_id, d.tenant_id, d.id, u.resource,
        u.amount::numeric, e.integration_id, e.connection_id, e.element_id
    FROM done AS d JOIN ended AS e ON e.id = d.id
    CROSS JOIN LATERAL jsonb_each_text(e.credits)
        WITH ORDINALITY AS u(resource, amount, position)
), told AS ({_TOLD})
SELECT id FROM done
"""  # noqa: S608 - our own SQL

_TAGS = {
    "action": "action:run",
    "flow": "flow:run",
    "connection-test": "connection:test",
    "connection-refresh": "connection:refresh",
}


def finish_query(endings: Sequence[tuple[Claim, Ending]]) -> Query:
    """Return what ends runs; the rows it finds are the ids of those that were ours to end."""
    rows = jsontext.dumps([_row(claim, ending) for claim, ending in endings])
    return Query(_FINISH, {"rows": rows, **among([claim.run_id for claim, _ in endings])})


def _row(claim: Claim, ending: Ending) -> dict[str, Any]:
    return {
        "id": claim.run_id,
        "token": claim.lease_token,
        "status": ending.status,
        "output": ending.output,
        "error": ending.error,
        "dead_reason": ending.dead_reason if claim.kind == "action" else None,
        "logs": ending.logs,
        "element_id": ending.element_id or claim.element_id,
        "element_key": ending.element_key or claim.element_key,
        "element_revision": ending.element_revision,
        "integration_id": ending.integration_id or claim.integration_id,
        "connection_id": ending.connection_id or claim.connection_id,
        "activity_id": uuid_utils.compat.uuid7(),
        "tag": f"{_TAGS[claim.kind]}:{ending.status}",
        "recorded_input": ending.recorded_input,
        "recorded_output": ending.recorded_output,
        "credits": ending.usage,
        "usage_ids": [uuid_utils.compat.uuid7() for _ in ending.usage],
    }
