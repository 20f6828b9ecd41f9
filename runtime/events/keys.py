"""Webhook keys: the only credential of a post from outside, so it is long, sealed and looked up
by its hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Literal, NamedTuple
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.credentials.store import Subject, load_sealed, open_document, save_sealed
from runtime.credentials.vault import Vault

__all__ = ["KeyKind", "Keyed", "add_key", "find_key", "is_key", "key_subject", "show_key"]

KeyKind = Literal["app-event-type", "app-event-subscription", "external-subscription"]

_KEY = re.compile(r"wh_[\w-]{32}", re.ASCII)


class Keyed(NamedTuple):
    """What a key stands for. Without a tenant it is the workspace's own."""

    workspace_id: UUID
    tenant_id: UUID | None
    kind: KeyKind
    subject_id: UUID


def is_key(text: str) -> bool:
    """Return whether a text has the form of a key; what has not is no reason to ask anybody."""
    return _KEY.fullmatch(text) is not None


async def find_key(connection: AsyncConnection[DictRow], key: str) -> Keyed | None:
    """Return what a key stands for, None for one that is not good. Needs the authenticator.

    The index is searched for the key's hash, so the time it takes says nothing about keys.
    """
    if not is_key(key):
        return None
    cursor = await connection.execute(
        "SELECT workspace_id, tenant_id, kind, subject_id FROM webhook_keys WHERE hash = %s"
        " AND (expires_at IS NULL OR expires_at > now())",
        (_hash(key),),
    )
    row = await cursor.fetchone()
    return Keyed(**row) if row else None


def key_subject(workspace_id: UUID, tenant_id: UUID | None, subject_id: UUID) -> Subject:
    """Return where the key of a type or a subscription is kept."""
    return Subject(workspace_id, tenant_id, subject_id, "webhook-key")


async def show_key(
    connection: AsyncConnection[DictRow], vault: Vault, subject: Subject
) -> str | None:
    """Return the current key, None if there is none yet. Needs a role that may read secrets."""
    stored = await load_sealed(connection, subject)
    return None if stored is None else str(open_document(vault, subject, stored)["key"])


async def add_key(
    connection: AsyncConnection[DictRow],
    vault: Vault,
    subject: Subject,
    kind: KeyKind,
    *,
    overlap: float = 0.0,
) -> str:
    """Make a new key and return it; the one before it ends after `overlap` seconds."""
    key = f"wh_{secrets.token_urlsafe(24)}"
    await connection.execute(
        "UPDATE webhook_keys SET expires_at = now() + make_interval(secs => %s)"
        " WHERE subject_id = %s AND expires_at IS NULL",
        (overlap, subject.id),
    )
    await connection.execute(
        "INSERT INTO webhook_keys (id, workspace_id, tenant_id, hash, kind, subject_id)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (
            uuid_utils.compat.uuid7(),
            *(subject.workspace_id, subject.tenant_id),
            *(_hash(key), kind, subject.id),
        ),
    )
    await save_sealed(connection, vault, subject, {"key": key})
    return key


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
