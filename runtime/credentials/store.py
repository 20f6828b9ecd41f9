"""Keeps sealed values: a data key per tenant, and what it seals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credentials.vault import Vault, WrappedKey

__all__ = [
    "SealedDocument",
    "Subject",
    "current_key",
    "load_sealed",
    "open_document",
    "save_sealed",
]

_REPLACE: LiteralString = """
UPDATE sealed_values SET sealed = %(sealed)s, data_key_id = %(data_key)s, version = version + 1,
    updated_at = now()
WHERE subject_id = %(subject)s AND field = %(field)s
  AND (%(version)s::int IS NULL OR version = %(version)s)
"""

_INSERT: LiteralString = """
INSERT INTO sealed_values (subject_id, field, workspace_id, tenant_id, data_key_id, sealed)
VALUES (%(subject)s, %(field)s, %(workspace)s, %(tenant)s, %(data_key)s, %(sealed)s)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a secret belongs to. `tenant_id` None is the workspace itself."""

    workspace_id: UUID
    tenant_id: UUID | None
    #: The connection, integration or tenant that the secret is about.
    id: UUID
    #: Such as `credentials` or `parameters`.
    field: str

    @property
    def owner(self) -> UUID:
        """Return whose data key seals it."""
        return self.tenant_id or self.workspace_id


@dataclass(frozen=True, slots=True)
class SealedDocument:
    """A sealed value as it is stored, with the key that opens it."""

    sealed: bytes
    version: int
    data_key: WrappedKey


async def save_sealed(
    connection: AsyncConnection[DictRow],
    vault: Vault,
    subject: Subject,
    document: dict[str, Any],
    *,
    expected_version: int | None = None,
) -> bool:
    """Seal a JSON document and store it; return whether it was stored.

    With `expected_version` it only replaces that version, so of two that started from the same one
    the second changes nothing.
    """
    data_key = await current_key(connection, vault, subject)
    sealed = vault.seal(
        data_key,
        subject.owner,
        workspace=subject.workspace_id,
        subject=subject.id,
        field=subject.field,
        plaintext=orjson.dumps(document),
    )
    values = {
        "subject": subject.id,
        "field": subject.field,
        "workspace": subject.workspace_id,
        "tenant": subject.tenant_id,
        "data_key": data_key.id,
        "sealed": sealed,
        "version": expected_version,
    }
    if await _changed(connection, _REPLACE, values):
        return True
    if expected_version is not None:
        return False
    # No upsert: it would need the right to read what is sealed. Two first writes at once meet here.
    return await _changed(connection, _INSERT, values) or await _changed(
        connection, _REPLACE, values
    )


async def _changed(
    connection: AsyncConnection[DictRow], statement: LiteralString, values: dict[str, Any]
) -> bool:
    return (await connection.execute(statement, values)).rowcount == 1


async def load_sealed(
    connection: AsyncConnection[DictRow], subject: Subject
) -> SealedDocument | None:
    """Return a sealed value, or None if there is none. Needs a role that may read it."""
    cursor = await connection.execute(
        "SELECT s.sealed, s.version, k.id, k.master_key, k.wrapped"
        " FROM sealed_values AS s JOIN data_keys AS k ON k.id = s.data_key_id"
        " WHERE s.subject_id = %s AND s.field = %s",
        (subject.id, subject.field),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return SealedDocument(
        bytes(row["sealed"]),
        row["version"],
        WrappedKey(row["id"], row["master_key"], bytes(row["wrapped"])),
    )


def open_document(vault: Vault, subject: Subject, stored: SealedDocument) -> dict[str, Any]:
    """Return what was sealed. Raises the vault's integrity error if anything was moved."""
    plaintext = vault.open(
        stored.data_key,
        subject.owner,
        workspace=subject.workspace_id,
        subject=subject.id,
        field=subject.field,
        sealed=stored.sealed,
    )
    document: dict[str, Any] = orjson.loads(plaintext)
    return document


async def current_key(
    connection: AsyncConnection[DictRow], vault: Vault, subject: Subject
) -> WrappedKey:
    """Return the data key of the subject's owner, making its first one if need be."""
    place = (subject.workspace_id, subject.tenant_id)
    for _ in range(2):
        cursor = await connection.execute(
            "SELECT id, master_key, wrapped FROM data_keys WHERE workspace_id = %s"
            " AND tenant_id IS NOT DISTINCT FROM %s AND retired_at IS NULL",
            place,
        )
        row = await cursor.fetchone()
        if row is not None:
            return WrappedKey(row["id"], row["master_key"], bytes(row["wrapped"]))
        fresh = vault.new_data_key(subject.owner)
        # Another request may make the tenant's first key at the same moment: one of them stays.
        await connection.execute(
            "INSERT INTO data_keys (id, workspace_id, tenant_id, master_key, wrapped)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (fresh.id, *place, fresh.master_key, fresh.wrapped),
        )
    message = "a data key that was just written cannot be read"
    raise RuntimeError(message)
