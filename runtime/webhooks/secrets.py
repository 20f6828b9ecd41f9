"""Keeps the secrets of endpoints: sealed, and two of one endpoint during a rotation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import structlog
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credentials.store import Subject, current_key
from runtime.credentials.vault import (
    SealBrokenError,
    UnknownMasterKeyError,
    Vault,
    WrappedKey,
)

__all__ = ["add_secret", "load_secrets"]

log = structlog.get_logger()

_FIELD = "webhook-secret"


async def add_secret(
    connection: AsyncConnection[DictRow],
    vault: Vault,
    workspace_id: UUID,
    endpoint_id: UUID,
    secret: str,
    *,
    overlap: float = 0.0,
) -> None:
    """Make a secret the endpoint's current one; those before it end after `overlap` seconds."""
    values = {"endpoint": endpoint_id, "overlap": overlap}
    await connection.execute("DELETE FROM webhook_secrets WHERE expires_at < now()")
    # What an earlier rotation left in its overlap must not outlive this one's.
    await connection.execute(
        "UPDATE webhook_secrets SET expires_at = now() + make_interval(secs => %(overlap)s)"
        " WHERE endpoint_id = %(endpoint)s"
        " AND (expires_at IS NULL OR expires_at > now() + make_interval(secs => %(overlap)s))",
        values,
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
        "INSERT INTO webhook_secrets (id, workspace_id, endpoint_id, data_key_id, sealed)"
        " VALUES (%s, %s, %s, %s, %s)",
        (secret_id, workspace_id, endpoint_id, data_key.id, sealed),
    )


async def load_secrets(
    connection: AsyncConnection[DictRow], vault: Vault, endpoint_ids: Sequence[UUID]
) -> dict[UUID, list[str]]:
    """Return the secrets of each endpoint that are valid now, the newest first.

    One that cannot be opened is left out and logged: it must not keep others' from being used.
    """
    cursor = await connection.execute(
        "SELECT s.id AS secret_id, s.workspace_id, s.endpoint_id, s.sealed, k.id, k.master_key,"
        " k.wrapped FROM webhook_secrets AS s JOIN data_keys AS k ON k.id = s.data_key_id"
        " WHERE s.endpoint_id = ANY(%s) AND (s.expires_at IS NULL OR s.expires_at > now())"
        " ORDER BY s.id DESC",
        (list(endpoint_ids),),
    )
    found: dict[UUID, list[str]] = defaultdict(list)
    for row in await cursor.fetchall():
        try:
            secret = _opened(vault, row)
        except (SealBrokenError, UnknownMasterKeyError) as error:
            endpoint = str(row["endpoint_id"])
            log.error("webhooks.not_opened", endpoint_id=endpoint, error=type(error).__name__)  # noqa: TRY400 - the stack says nothing more
        else:
            found[row["endpoint_id"]].append(secret)
    return dict(found)


def _opened(vault: Vault, row: DictRow) -> str:
    return vault.open(
        WrappedKey(row["id"], row["master_key"], bytes(row["wrapped"])),
        row["workspace_id"],
        workspace=row["workspace_id"],
        subject=row["secret_id"],
        field=_FIELD,
        sealed=bytes(row["sealed"]),
    ).decode()
