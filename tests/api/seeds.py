"""Rows that tests need and that no short way through the API makes."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import uuid_utils.compat


def uuid7_at(moment: datetime) -> uuid.UUID:
    """Return a UUIDv7 as it is made at a moment."""
    tail = uuid.uuid4().int & ((1 << 80) - 1)
    return uuid.UUID(int=(int(moment.timestamp() * 1000) << 80 | tail) & ~(0xF << 76) | (7 << 76))


async def insert(platform: Any, table: str, **columns: Any) -> uuid.UUID:
    """Write a row as the owner of the tables and return its id."""
    columns.setdefault("id", uuid_utils.compat.uuid7())
    values = [
        json.dumps(value) if isinstance(value, dict | list) else value for value in columns.values()
    ]
    marks = ", ".join(["%s"] * len(values))
    async with platform.owner() as connection:
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values
        )
    return columns["id"]


async def tenant_id(client: Any) -> uuid.UUID:
    """Return the id of a client's tenant."""
    return uuid.UUID((await client.get("/self")).json()["id"])


async def integration(platform: Any, workspace: Any, key: str = "crm") -> uuid.UUID:
    """Write an integration."""
    return await insert(
        platform,
        "elements",
        kind="integration",
        layer="workspace",
        workspace_id=workspace.id,
        key=key,
        spec={"connectorKey": key},
    )


async def connection(platform: Any, workspace: Any, tenant: uuid.UUID, **columns: Any) -> uuid.UUID:
    """Write a connection of a tenant; `integration_id` has to be among the columns."""
    return await insert(
        platform,
        "connections",
        workspace_id=workspace.id,
        tenant_id=tenant,
        **{"name": "A connection", "state": "READY", **columns},
    )


async def run(platform: Any, workspace: Any, tenant: uuid.UUID, **columns: Any) -> uuid.UUID:
    """Write a run, queued unless the columns say otherwise."""
    return await insert(
        platform,
        "runs",
        workspace_id=workspace.id,
        tenant_id=tenant,
        **{"kind": "action", "queue": "default", "element_key": "echo", **columns},
    )


async def activity(platform: Any, workspace: Any, tenant: uuid.UUID, **columns: Any) -> uuid.UUID:
    """Write the terminal record of a run that was completed."""
    return await insert(
        platform,
        "activity_records",
        workspace_id=workspace.id,
        tenant_id=tenant,
        **{
            "tag": "action:run:completed",
            "status": "completed",
            "run_id": uuid_utils.compat.uuid7(),
            "element_key": "echo",
            "attempt": 1,
            "duration_ms": 5.0,
            **columns,
        },
    )


async def usage(
    platform: Any,
    workspace: Any,
    tenant: uuid.UUID,
    amount: float,
    *,
    resource: str = "action-runs",
    at: datetime | None = None,
    **columns: Any,
) -> uuid.UUID:
    """Write an entry of the ledger, as of now or of another moment."""
    at = at or datetime.now(UTC)
    return await insert(
        platform,
        "usage_records",
        id=uuid7_at(at),
        workspace_id=workspace.id,
        tenant_id=tenant,
        run_id=uuid_utils.compat.uuid7(),
        resource=resource,
        amount=amount,
        created_at=at,
        **columns,
    )
