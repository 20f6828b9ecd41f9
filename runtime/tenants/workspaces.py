"""Makes workspaces. An operator does that, with the owner's connection; no API role may."""

from __future__ import annotations

from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credentials.signing_secrets import add_signing_secret
from runtime.credentials.vault import Vault

__all__ = ["ensure_workspace"]


async def ensure_workspace(
    connection: AsyncConnection[DictRow], vault: Vault, *, key: str, name: str, secret: str
) -> UUID:
    """Return the workspace's id, making it with this secret if it is not there yet."""
    cursor = await connection.execute("SELECT id FROM workspaces WHERE key = %s", (key,))
    row = await cursor.fetchone()
    if row is not None:
        workspace_id: UUID = row["id"]
        return workspace_id
    workspace_id = uuid_utils.compat.uuid7()
    await connection.execute(
        "INSERT INTO workspaces (id, key, name) VALUES (%s, %s, %s)", (workspace_id, key, name)
    )
    await add_signing_secret(connection, vault, workspace_id, secret, overlap=0)
    return workspace_id
