"""The audit trail: written in the transaction of the change, so there is no change without it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext

__all__ = ["audit"]


async def audit(  # noqa: PLR0913 - a record has this many facts, all of them named
    connection: AsyncConnection[DictRow],
    *,
    workspace_id: UUID,
    tenant_id: UUID | None,
    actor: str,
    tag: str,
    target_kind: str,
    target_id: UUID | None,
    target_key: str | None,
    changes: dict[str, Any] | None,
) -> None:
    """Record who did what to what; `changes` is a merge patch and never holds a secret."""
    await connection.execute(
        "INSERT INTO audit_records (id, workspace_id, tenant_id, actor, tag, target_kind,"
        " target_id, target_key, changes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)",
        (
            uuid_utils.compat.uuid7(),
            workspace_id,
            tenant_id,
            actor,
            tag,
            target_kind,
            target_id,
            target_key,
            jsontext.dumps(changes) if changes is not None else None,
        ),
    )
