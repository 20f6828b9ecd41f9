"""What processes read of the caps: the bound of a tenant's backlog, and all that the lanes need."""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.caps.names import cap_name, lane_amount
from runtime.tenancy import Owner

__all__ = ["backlog_cap", "caps_version", "running_caps"]


# Two looks into the unique index: an OR would read the own caps of all other tenants too.
_BACKLOG = """
SELECT amount, 0 AS rank FROM caps WHERE workspace_id = %(workspace)s
    AND state = 'queued' AND scope = 'tenant' AND tenant_id = %(tenant)s
UNION ALL
SELECT amount, 1 FROM caps WHERE workspace_id = %(workspace)s
    AND state = 'queued' AND scope = 'tenant' AND tenant_id IS NULL
ORDER BY rank LIMIT 1
"""


async def backlog_cap(
    connection: AsyncConnection[DictRow], owner: Owner, default: int | None
) -> int | None:
    """Return how many runs of a tenant may wait; None if any number may.

    Its own cap counts, else the workspace's for each tenant, else `default`. `connection` is inside
    the tenant's transaction.
    """
    cursor = await connection.execute(
        _BACKLOG, {"workspace": owner.workspace_id, "tenant": owner.tenant_id}
    )
    row = await cursor.fetchone()
    return default if row is None else row["amount"]


async def caps_version(connection: AsyncConnection[DictRow]) -> str:
    """Return a text that changes with any of the running caps.

    It is a hash over the rows themselves: the newest `updated_at` would miss a row that another
    transaction began to write earlier and committed later.
    """
    cursor = await connection.execute(
        "SELECT count(*) || ':' || coalesce(sum(hash_record_extended(c, 0)), 0) AS version"
        " FROM caps AS c WHERE state = 'running'"
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    return str(row["version"])


async def running_caps(connection: AsyncConnection[DictRow]) -> dict[str, int]:
    """Return every running cap that this connection may see, as the lanes are told them."""
    cursor = await connection.execute(
        "SELECT workspace_id, scope, tenant_id, subject_id, amount FROM caps"
        " WHERE state = 'running'"
    )
    return {
        cap_name(row["workspace_id"], row["scope"], row["tenant_id"], row["subject_id"]): (
            lane_amount(row)
        )
        async for row in cursor
    }
