"""Lists instances: the rows of their own that tenants have of elements, as they are in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Connection, Element
from runtime.config.kinds import Kind
from runtime.config.locate import Located
from runtime.config.places import integrations_of
from runtime.config.resolve import Place, applies
from runtime.config.rows import Viewer, as_layer

__all__ = ["InstanceFilters", "list_instances"]


@dataclass(frozen=True, slots=True)
class InstanceFilters:
    """What a list of instances is narrowed to."""

    place: Place | None = None
    instance_key: str | None = None
    #: Of which element, and of which integration's if that makes a difference.
    key: str | None = None
    parent_integration: UUID | None = None
    search: str | None = None
    include_archived: bool = False
    after: UUID | None = None
    limit: int = 100


async def list_instances(
    session: AsyncSession, kind: Kind, viewer: Viewer, filters: InstanceFilters
) -> tuple[Sequence[Located], UUID | None]:
    """Return a page of instances, and the id after which the next one begins.

    A viewer without a tenant sees every tenant's.
    """
    rows = await _rows(
        session,
        [
            col(Element.workspace_id) == viewer.workspace_id,
            col(Element.kind) == kind.name,
            col(Element.tenant_id).is_not(None)
            if viewer.tenant_id is None
            else col(Element.tenant_id) == viewer.tenant_id,
            col(Element.layer) == kind.instances,
            *_narrowing(filters),
        ],
        filters.limit + 1,
    )
    page = rows[: filters.limit]
    after = page[-1].id if len(rows) > filters.limit else None
    return await _located(session, kind, viewer, page), after


async def _located(
    session: AsyncSession, kind: Kind, viewer: Viewer, page: Sequence[Element]
) -> Sequence[Located]:
    tenants = {row.tenant_id for row in page if row.tenant_id is not None}
    layers = await _rows(
        session,
        [
            col(Element.kind) == kind.name,
            col(Element.key).in_({row.key for row in page}),
            col(Element.archived_at).is_(None),
            or_(
                col(Element.workspace_id).is_(None),
                and_(
                    col(Element.workspace_id) == viewer.workspace_id,
                    or_(col(Element.tenant_id).is_(None), col(Element.tenant_id).in_(tenants)),
                ),
            ),
        ],
    )
    ids = [row.integration_id for row in page if row.integration_id]
    apps = await integrations_of(session, ids)
    items = []
    for row in page:
        app = apps[row.integration_id][1] if row.integration_id in apps else row.app
        place = Place(row.integration_id, app, row.connection_id, row.instance_key)
        here = [row]
        if row.archived_at is None:
            here = [
                each
                for each in layers
                if each.key == row.key
                and each.tenant_id in (None, row.tenant_id)
                and applies(as_layer(each), place)
            ]
        owner = Viewer(viewer.workspace_id, row.tenant_id)
        items.append(Located(kind, row.key, owner, place, here))
    return items


async def _rows(
    session: AsyncSession, conditions: Sequence[ColumnElement[bool]], limit: int | None = None
) -> Sequence[Element]:
    statement = select(Element).where(*conditions).order_by(col(Element.id)).limit(limit)
    found = await session.exec(statement.execution_options(populate_existing=True))
    return found.all()


def _narrowing(filters: InstanceFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if not filters.include_archived:
        conditions.append(col(Element.archived_at).is_(None))
        gone = select(Connection.id).where(
            col(Connection.id) == col(Element.connection_id),
            col(Connection.archived_at).is_not(None),
        )
        conditions.append(~gone.exists())
    if filters.after is not None:
        conditions.append(col(Element.id) > filters.after)
    if filters.key is not None:
        conditions.append(col(Element.key) == filters.key)
    if filters.parent_integration is not None:
        conditions.append(col(Element.integration_id) == filters.parent_integration)
    if filters.instance_key is not None:
        conditions.append(col(Element.instance_key) == filters.instance_key)
    if filters.search:
        texts = (col(Element.key), Element.spec["name"].astext)
        conditions.append(or_(*(text.icontains(filters.search, autoescape=True) for text in texts)))
    if (place := filters.place) is not None:
        if place.connection_id is not None:
            conditions.append(col(Element.connection_id) == place.connection_id)
        elif place.integration_id is not None:
            conditions.append(col(Element.integration_id) == place.integration_id)
    return conditions
