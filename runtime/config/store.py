"""Reads the rows that make up an element, for one tenant's place or a whole workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.db import Query

__all__ = ["ElementRow", "element_by_id", "integration_by_key", "layers_of", "layers_query"]

_COLUMNS = (
    "id, kind, layer, workspace_id, tenant_id, integration_id, connection_id, app, key, parent_id,"
    " spec, revision, instance_key"
)

_LAYERS = (
    f"SELECT {_COLUMNS} FROM elements"  # noqa: S608 - our own column list
    " WHERE kind = %s AND key = %s AND archived_at IS NULL"
    " AND (workspace_id IS NULL OR (workspace_id = %s"
    " AND (tenant_id IS NULL OR tenant_id = %s)))"
)


@dataclass(frozen=True, slots=True)
class ElementRow:
    """One stored layer of an element."""

    id: UUID
    kind: str
    layer: str
    workspace_id: UUID | None
    tenant_id: UUID | None
    integration_id: UUID | None
    connection_id: UUID | None
    app: str | None
    key: str
    parent_id: UUID | None
    spec: dict[str, Any]
    revision: int
    instance_key: str | None = None

    @property
    def is_patch(self) -> bool:
        """Return whether the row customises what lies below it."""
        return self.parent_id is not None


def layers_query(*, kind: str, key: str, owner: tuple[UUID, UUID | None]) -> Query:
    """Return what finds every live row of this kind and key that workspace and tenant can see.

    Each row it finds is an ElementRow's members.
    """
    return Query(_LAYERS, (kind, key, *owner))


async def layers_of(
    connection: AsyncConnection[DictRow], *, kind: str, key: str, owner: tuple[UUID, UUID | None]
) -> Sequence[ElementRow]:
    """Return every live row of this kind and key that the workspace and tenant can see."""
    cursor = await connection.execute(*layers_query(kind=kind, key=key, owner=owner))
    return [ElementRow(**row) for row in await cursor.fetchall()]


async def element_by_id(
    connection: AsyncConnection[DictRow], element_id: UUID
) -> ElementRow | None:
    """Return a live row by id, or None if there is none that this scope may see."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM elements WHERE id = %s AND archived_at IS NULL",  # noqa: S608 - ours
        (element_id,),
    )
    row = await cursor.fetchone()
    return ElementRow(**row) if row else None


async def integration_by_key(
    connection: AsyncConnection[DictRow], workspace_id: UUID, selector: str
) -> ElementRow | None:
    """Return a live integration of the workspace by id or key."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM elements"  # noqa: S608 - our own column list
        " WHERE kind = 'integration' AND workspace_id = %s AND archived_at IS NULL"
        " AND (key = %s OR id::text = %s)",
        (workspace_id, selector, selector),
    )
    row = await cursor.fetchone()
    return ElementRow(**row) if row else None
