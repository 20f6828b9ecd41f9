"""Raises alerts, each once for as long as its cause lasts, and ends them with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.outbox import told

__all__ = ["AlertType", "Cause", "end_alert", "end_others", "raise_alerts"]

AlertType = Literal[
    "creditLimit",
    "webhookEndpointDisabled",
    "connectionClientActionRequired",
    "deadLettersPilingUp",
]

_TOLD = told(
    "SELECT * FROM raised",
    "'alert.created'",
    """jsonb_build_object('alert', jsonb_build_object('id', r.id, 'type', r.type,
        'severity', r.severity, 'status', r.status, 'tenantId', r.tenant_id, 'data', r.data,
        'createdAt', r.created_at))""",
)

# In the order of the key, so that two who raise at once do not wait for each other in a circle.
_RAISE = f"""
WITH causes AS (
    SELECT * FROM jsonb_to_recordset(%(causes)s::jsonb) AS c(workspace_id uuid, tenant_id uuid,
        type text, subject text, severity text, data jsonb)
), raised AS (
    INSERT INTO alerts (id, workspace_id, tenant_id, type, subject, severity, data)
    SELECT vesicle.uuid7(), workspace_id, tenant_id, type, subject, severity, data FROM causes
    ORDER BY workspace_id, type, subject
    ON CONFLICT (workspace_id, type, subject) WHERE ended_at IS NULL DO NOTHING
    RETURNING *
), told AS ({_TOLD})
SELECT id FROM raised
"""  # noqa: S608 - our own SQL

_END = """
UPDATE alerts SET ended_at = now(), status = 'resolved', resolved_at = coalesce(resolved_at, now())
WHERE ended_at IS NULL AND type = %(type)s
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an alert is raised, and for whom: a tenant, or the workspace alone."""

    workspace_id: UUID
    tenant_id: UUID | None
    type: AlertType
    #: What tells it apart from others of its type.
    subject: str
    severity: Literal["warning", "critical"]
    data: dict[str, Any]


async def raise_alerts(connection: AsyncConnection[DictRow], causes: Sequence[Cause]) -> int:
    """Raise an alert for each cause that has none yet; return how many are new."""
    if not causes:
        return 0
    rows = [{name: getattr(cause, name) for name in Cause.__dataclass_fields__} for cause in causes]
    cursor = await connection.execute(_RAISE, {"causes": jsontext.dumps(rows)})
    return len(await cursor.fetchall())


async def end_others(
    connection: AsyncConnection[DictRow], kind: AlertType, lasting: Sequence[tuple[UUID, str]]
) -> int:
    """End the alerts of a type whose cause, workspace and subject, is not among these."""
    cursor = await connection.execute(
        f"{_END} AND (workspace_id, subject) NOT IN"  # noqa: S608 - our own SQL
        " (SELECT * FROM unnest(%(workspaces)s::uuid[], %(subjects)s::text[]))",
        {
            "type": kind,
            "workspaces": [workspace for workspace, _ in lasting],
            "subjects": [subject for _, subject in lasting],
        },
    )
    return cursor.rowcount


async def end_alert(
    connection: AsyncConnection[DictRow], workspace_id: UUID, kind: AlertType, subject: str
) -> None:
    """End an alert whose cause is gone, if there is one."""
    await connection.execute(
        f"{_END} AND workspace_id = %(workspace)s AND subject = %(subject)s",
        {"type": kind, "workspace": workspace_id, "subject": subject},
    )
