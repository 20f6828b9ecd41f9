"""Shows which triggers are live, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.pages import page
from runtime.tenancy import Scope

__all__ = ["TriggerFilter", "list_triggers", "public_trigger"]


@dataclass(frozen=True, slots=True)
class TriggerFilter:
    """Which triggers a list shows, by id, those after `after`."""

    tenant_id: UUID | None = None
    flow_key: str | None = None
    connection_id: UUID | None = None
    type: str | None = None
    is_live: bool | None = None
    after: UUID | None = None
    limit: int = 100


async def list_triggers(
    connection: AsyncConnection[DictRow], scope: Scope, wanted: TriggerFilter
) -> Sequence[DictRow]:
    """Return triggers by id, one more than the limit if there are more."""
    tests = {
        "tenant_id": "tenant_id = %(tenant_id)s",
        "flow_key": "flow_key = %(flow_key)s",
        "connection_id": "connection_id = %(connection_id)s",
        "type": "type = %(type)s",
        "is_live": "is_live = %(is_live)s",
        "after": "id > %(after)s",
        "workspace": "workspace_id = %(workspace)s",
    }
    values = {**asdict(wanted), "workspace": scope.workspace_id}
    select = "SELECT * FROM flow_triggers"
    return await page(connection, select, tests, values, by="id", limit=wanted.limit)


def public_trigger(row: DictRow) -> dict[str, Any]:
    """Return a trigger as the API shows it."""
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "tenantId": str(row["tenant_id"]),
        "flowId": str(row["flow_id"]),
        "flowKey": row["flow_key"],
        "nodeKey": row["node_key"],
        "type": row["type"],
        "config": row["config"],
        "revision": row["revision"],
        "isLive": row["is_live"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
    optional = (
        ("integrationId", "integration_id"),
        ("connectionId", "connection_id"),
        ("instanceKey", "instance_key"),
        ("reason", "reason"),
    )
    for name, column in optional:
        if row[column] is not None:
            shown[name] = str(row[column])
    return shown
