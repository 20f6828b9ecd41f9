"""Activity while it happens: a tenant's own, or its workspace's for a manager."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from psycopg.rows import DictRow

from runtime.activity.read import ActivityFilter, fits, list_since
from runtime.db import Database
from runtime.live.tails import Tails
from runtime.tenancy import Scope

__all__ = ["follow_activity"]

#: Records that are sent of what was missed, in pages of so many.
_MISSED, _PAGE = 10_000, 500


async def follow_activity(
    database: Database,
    tails: Tails,
    scope: Scope,
    wanted: ActivityFilter,
    *,
    after: UUID | None = None,
) -> AsyncGenerator[DictRow | None, None]:
    """Yield the records that fit, as they come; first those after an id, if one is given.

    None, right at the beginning, says that nothing is missed from now on.

    Ends if they are not taken as fast as they come.
    """

    async def read(begin: UUID, seen: Sequence[UUID], limit: int) -> Sequence[DictRow]:
        async with database.transaction(scope) as connection:
            return await list_since(connection, scope, ActivityFilter(), begin, limit, seen=seen)

    key = ("activity", scope)
    async with tails.subscribed(key, scope.tenant_id or scope.workspace_id, read) as subscriber:
        yield None
        sent: set[UUID] = set()
        while after is not None and len(sent) < _MISSED:
            async with database.transaction(scope) as connection:
                rows = await list_since(connection, scope, wanted, after, _PAGE)
            for row in rows:
                sent.add(row["id"])
                yield row
            after = rows[-1]["id"] if len(rows) == _PAGE else None
        async for row in subscriber.rows():
            if row["id"] not in sent and fits(row, wanted):
                yield row
