"""Reads rows of elements for those who manage them; a run reads them through `store.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, String, and_, any_, literal, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.store import ElementRow

__all__ = ["Viewer", "archived_rows", "as_layer", "row_by_id", "rows_by_keys", "visible_to"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Through whose eyes elements are seen: a tenant's, or the workspace's own."""

    workspace_id: UUID
    tenant_id: UUID | None = None


def visible_to(viewer: Viewer) -> ColumnElement[bool]:
    """Return the condition on the rows that have a say for a viewer.

    Row security also lets a manager see every tenant's rows, which are no part of its own view.
    """
    tenant: ColumnElement[bool] = col(Element.tenant_id).is_(None)
    if viewer.tenant_id is not None:
        tenant = or_(tenant, col(Element.tenant_id) == viewer.tenant_id)
    return or_(
        col(Element.workspace_id).is_(None),
        and_(col(Element.workspace_id) == viewer.workspace_id, tenant),
    )


async def rows_by_keys(
    session: AsyncSession, kind: str, keys: Iterable[str], viewer: Viewer
) -> Sequence[Element]:
    """Return every live row of these keys that a viewer sees."""
    return await _all(
        session,
        col(Element.kind) == kind,
        # One array, and not a hundred placeholders: reading these takes the driver 2 ms.
        col(Element.key) == any_(literal(sorted(set(keys)), ARRAY(String))),
        col(Element.archived_at).is_(None),
        visible_to(viewer),
    )


async def row_by_id(session: AsyncSession, kind: str, element_id: UUID) -> Element | None:
    """Return a row by its id, live or archived, or None if this session may not see it."""
    rows = await _all(session, col(Element.id) == element_id, col(Element.kind) == kind)
    return rows[0] if rows else None


async def archived_rows(
    session: AsyncSession, kind: str, key: str, viewer: Viewer
) -> Sequence[Element]:
    """Return the rows of this key that the viewer archived, the last one first."""
    rows = await _all(
        session,
        col(Element.workspace_id) == viewer.workspace_id,
        col(Element.kind) == kind,
        col(Element.key) == key,
        col(Element.tenant_id) == viewer.tenant_id,
        col(Element.archived_at).is_not(None),
    )
    return sorted(rows, key=lambda row: (row.archived_at, row.id), reverse=True)


def as_layer(row: Element) -> ElementRow:
    """Return a row as the resolution takes it."""
    return ElementRow(
        id=row.id,
        kind=row.kind,
        layer=row.layer,
        workspace_id=row.workspace_id,
        tenant_id=row.tenant_id,
        integration_id=row.integration_id,
        connection_id=row.connection_id,
        app=row.app,
        key=row.key,
        parent_id=row.parent_id,
        spec=row.spec,
        revision=row.revision,
        instance_key=row.instance_key,
    )


async def _all(session: AsyncSession, *conditions: ColumnElement[bool]) -> Sequence[Element]:
    # Read anew each time: a row that the session knows may have been changed by somebody else
    # before this session came to hold the lock.
    statement = select(Element).where(*conditions).execution_options(populate_existing=True)
    found: Any = await session.exec(statement)
    rows: Sequence[Element] = found.all()
    return rows
