"""The secrets that sign a workspace's tokens: sealed, and two of them during a rotation."""

from __future__ import annotations

from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credentials.store import Subject, current_key
from runtime.credentials.vault import Vault, WrappedKey

__all__ = ["add_signing_secret", "load_signing_secrets"]

_FIELD = "signing-secret"


async def load_signing_secrets(
    connection: AsyncConnection[DictRow], vault: Vault, workspace_id: UUID
) -> list[bytes]:
    """Return the secrets that are valid now, the newest first."""
    cursor = await connection.execute(
        "SELECT s.id AS secret_id, s.sealed, k.id, k.master_key, k.wrapped"
        " FROM signing_secrets AS s JOIN data_keys AS k ON k.id = s.data_key_id"
        " WHERE s.workspace_id = %s AND (s.expires_at IS NULL OR s.expires_at > now())"
        " ORDER BY s.id DESC",
        (workspace_id,),
    )
    return [
        vault.open(
            WrappedKey(row["id"], row["master_key"], bytes(row["wrapped"])),
            workspace_id,
            workspace=workspace_id,
            subject=row["secret_id"],
            field=_FIELD,
            sealed=bytes(row["sealed"]),
        )
        for row in await cursor.fetchall()
    ]


async def add_signing_secret(
    connection: AsyncConnection[DictRow],
    vault: Vault,
    workspace_id: UUID,
    secret: str,
    *,
    overlap: float,
) -> None:
    """Make a secret the workspace's current one; those before it end after `overlap` seconds."""
    await connection.execute(
        "UPDATE signing_secrets SET expires_at = now() + make_interval(secs => %s)"
        " WHERE workspace_id = %s AND expires_at IS NULL",
        (overlap, workspace_id),
    )
    secret_id = uuid_utils.compat.uuid7()
    data_key = await current_key(connection, vault, Subject(workspace_id, None, secret_id, _FIELD))
    sealed = vault.seal(
        data_key,
        workspace_id,
        workspace=workspace_id,
        subject=secret_id,
        field=_FIELD,
        plaintext=secret.encode(),
    )
    await connection.execute(
        "INSERT INTO signing_secrets (id, workspace_id, data_key_id, sealed)"
        " VALUES (%s, %s, %s, %s)",
        (secret_id, workspace_id, data_key.id, sealed),
    )
