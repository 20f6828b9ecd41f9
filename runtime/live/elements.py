"""Changes of a workspace's elements while they are made, as the audit trail has them.

A tenant hears of what it can read: its own, and what the workspace shares. Only a kind and an id
go out; what the change was is to be read by whoever may.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from psycopg.rows import DictRow

from runtime.config.kinds import KINDS
from runtime.db import Database
from runtime.live.tails import Tails
from runtime.tenancy import Scope

__all__ = ["follow_elements"]

_CHANGES = """
SELECT id, tenant_id, target_kind, target_id FROM audit_records
WHERE workspace_id = %(workspace)s AND id > %(begin)s AND id <> ALL(%(seen)s::uuid[])
  AND target_id IS NOT NULL AND target_kind = ANY(%(kinds)s)
ORDER BY id LIMIT %(limit)s
"""

#: What is shown, by the audit trail's word for it, and the field's own word.
_SHOWN = {**{kind: kind for kind in KINDS}, "connection": "connection", "tenant": "customer"}


async def follow_elements(
    database: Database, tails: Tails, scope: Scope
) -> AsyncGenerator[tuple[str, UUID] | None, None]:
    """Yield the kind and the id of what changed, as it changes.

    None, right at the beginning, says that nothing is missed from now on.
    """
    workspace = Scope.workspace(scope.workspace_id)

    async def read(begin: UUID, seen: Sequence[UUID], limit: int) -> Sequence[DictRow]:
        values = {
            "workspace": scope.workspace_id,
            "begin": begin,
            "seen": list(seen),
            "kinds": list(_SHOWN),
            "limit": limit,
        }
        async with database.transaction(workspace) as connection:
            return await (await connection.execute(_CHANGES, values)).fetchall()

    key = ("elements", workspace)
    async with tails.subscribed(key, scope.workspace_id, read) as subscriber:
        yield None
        async for row in subscriber.rows():
            if scope.tenant_id is None or _may_see(row, scope.tenant_id):
                yield _SHOWN[row["target_kind"]], row["target_id"]


def _may_see(row: DictRow, tenant_id: UUID) -> bool:
    own: bool = row["tenant_id"] == tenant_id
    return own or (row["tenant_id"] is None and row["target_kind"] in KINDS)
