"""Lists elements, a page at a time, in the order in which they were made.

The ids of a page are read off an index alone: once among the universe's rows, once among the
workspace's and once among the tenant's. What belongs to an integration or a connection has indexes
of its own; for all other conditions, a search too, entries are looked at until the page is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, union_all
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.kinds import Kind
from runtime.config.locate import Located
from runtime.config.places import integrations_of
from runtime.config.resolve import Place, applies, resolve
from runtime.config.rows import Viewer, as_layer, rows_by_keys
from runtime.errors import ConfigurationError

__all__ = ["Filters", "Page", "list_effective", "list_rows"]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to."""

    search: str | None = None
    key: str | None = None
    #: Only these definitions.
    ids: Sequence[UUID] | None = None
    #: Only what is for one of these connectors, or for one of their integrations.
    apps: Sequence[str] | None = None
    include_archived: bool = False
    #: Only what belongs to this place's app, integration or connection.
    place: Place | None = None
    is_universal: bool | None = None
    #: The id after which the page begins.
    after: UUID | None = None
    limit: int = 100
    #: For a list of stored rows: which layers, and what they customise.
    layers: tuple[str, ...] = ()
    parent_id: UUID | None = None
    #: For a list of stored rows: only the viewer's own.
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Some elements, and the id after which the next page begins, if there is one."""

    items: Sequence[Located]
    after: UUID | None


async def list_effective(
    session: AsyncSession, kind: Kind, viewer: Viewer, filters: Filters
) -> Page:
    """Return a page of elements as they are in force for a viewer, one for each definition.

    A definition that a nearer one replaces is left out, so a page may be shorter than its limit.
    """
    rows, after = await _page(session, kind, viewer, filters, [col(Element.parent_id).is_(None)])
    layers: dict[str, list[Element]] = {}
    for row in await rows_by_keys(session, kind.name, (row.key for row in rows), viewer):
        layers.setdefault(row.key, []).append(row)
    apps = await integrations_of(
        session, [row.integration_id for row in rows if row.integration_id]
    )
    items = []
    for row in rows:
        if row.archived_at is not None:
            place = Place(row.integration_id, row.app, row.connection_id)
            items.append(Located(kind, row.key, viewer, place, [row]))
            continue
        place = filters.place or _place(row, apps)
        here = [each for each in layers[row.key] if applies(as_layer(each), place)]
        if _base(here, place) == row.id:
            items.append(Located(kind, row.key, viewer, place, here))
    return Page(items, after)


async def list_rows(session: AsyncSession, kind: Kind, viewer: Viewer, filters: Filters) -> Page:
    """Return a page of rows as they are stored, customisations among them."""
    conditions: list[ColumnElement[bool]] = []
    if filters.layers:
        conditions.append(col(Element.layer).in_(filters.layers))
        if filters.layers == ("integration",):  # then the index of these has all there are
            conditions.append(col(Element.integration_id).is_not(None))
    if filters.parent_id is not None:
        conditions.append(col(Element.parent_id) == filters.parent_id)
    rows, after = await _page(session, kind, viewer, filters, conditions)
    return Page([Located(kind, row.key, viewer, Place(), [row]) for row in rows], after)


def _place(row: Element, apps: dict[UUID, tuple[str, str | None]]) -> Place:
    app = row.app
    if row.integration_id in apps:
        app = apps[row.integration_id][1]
    return Place(row.integration_id, app, row.connection_id)


def _base(rows: Sequence[Element], place: Place) -> UUID | None:
    try:
        found = resolve([as_layer(row) for row in rows], place)
    except ConfigurationError:
        return None
    return found.id if found else None


async def _page(
    session: AsyncSession,
    kind: Kind,
    viewer: Viewer,
    filters: Filters,
    conditions: Sequence[ColumnElement[bool]],
) -> tuple[Sequence[Element], UUID | None]:
    where = [col(Element.kind) == kind.name, *conditions, *_narrowing(filters)]
    parts = [
        # Ordered by the index's own columns: of a column that IS NULL the planner does not know
        # that it is constant, and would sort all the rows.
        select(Element.id)
        .where(*branch, *place, *where)
        .order_by(col(Element.workspace_id), col(Element.tenant_id), col(Element.id))
        .limit(filters.limit + 1)
        for branch in _branches(viewer, filters)
        for place in _places(filters.place)
    ]
    if not parts:
        return [], None
    ids = union_all(*(part.subquery().select() for part in parts)).subquery()
    first = select(ids.c.id).order_by(ids.c.id).limit(filters.limit + 1)
    statement = select(Element).where(col(Element.id).in_(first)).order_by(col(Element.id))
    result: Any = await session.exec(statement.execution_options(populate_existing=True))
    rows: Sequence[Element] = result.all()
    page = rows[: filters.limit]
    return page, page[-1].id if len(rows) > filters.limit else None


def _branches(viewer: Viewer, filters: Filters) -> list[list[ColumnElement[bool]]]:
    """Return the conditions on the rows of each owner that can be in the list."""
    workspace, tenant = col(Element.workspace_id), col(Element.tenant_id)
    universe: list[ColumnElement[bool]] = [workspace.is_(None), tenant.is_(None)]
    shared: list[ColumnElement[bool]] = [workspace == viewer.workspace_id, tenant.is_(None)]
    own: list[ColumnElement[bool]] = [workspace == viewer.workspace_id, tenant == viewer.tenant_id]
    owners = [("universe",), ("workspace", "integration"), ("tenant", "connection")]
    return [
        branch
        for branch, layers in zip((universe, shared, own), owners, strict=True)
        if (not filters.layers or set(layers) & set(filters.layers))
        and (branch is own or not filters.is_own)
        and (branch is not own or viewer.tenant_id is not None)
    ]


def _narrowing(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.after is not None:
        conditions.append(col(Element.id) > filters.after)
    if not filters.include_archived:
        conditions.append(col(Element.archived_at).is_(None))
    if filters.search:
        sought = func.lower(filters.search)
        conditions.append(func.strpos(col(Element.search_text), sought) > 0)
    if filters.key is not None:
        conditions.append(col(Element.key) == filters.key)
    if filters.ids is not None:
        conditions.append(col(Element.id).in_(filters.ids))
    if filters.apps is not None:
        conditions.append(_is_for(filters.apps))
    if filters.is_universal is not None:
        anywhere = and_(
            col(Element.app).is_(None),
            col(Element.integration_id).is_(None),
            col(Element.connection_id).is_(None),
        )
        conditions.append(anywhere if filters.is_universal else ~anywhere)
    return conditions


def _places(place: Place | None) -> list[list[ColumnElement[bool]]]:
    """Return the conditions on what is for a place and not for any; no row meets two of them."""
    if place is None:
        return [[]]
    app, integration, connection = (
        col(Element.app),
        col(Element.integration_id),
        col(Element.connection_id),
    )
    of_app = or_(app.is_(None), app == place.app)
    ways: list[list[ColumnElement[bool]]] = []
    if place.connection_id is not None:
        of_integration = or_(integration.is_(None), integration == place.integration_id)
        ways.append([connection == place.connection_id, of_integration, of_app])
    if place.integration_id is not None:
        ways.append([connection.is_(None), integration == place.integration_id, of_app])
    if place.app is not None:
        ways.append([connection.is_(None), integration.is_(None), app == place.app])
    if place.connection_id is not None:
        anywhere = [connection.is_(None), integration.is_(None), app.is_(None)]
        ways.append([*anywhere, _has_instance_at(place.connection_id)])
    return ways


def _has_instance_at(connection_id: UUID) -> ColumnElement[bool]:
    """Return the condition on elements for any app that were used over this connection."""
    instance = aliased(Element)
    used = select(instance.id).where(
        col(instance.connection_id) == connection_id,
        col(instance.kind) == col(Element.kind),
        col(instance.key) == col(Element.key),
        col(instance.archived_at).is_(None),
    )
    return used.exists()


def _is_for(apps: Sequence[str]) -> ColumnElement[bool]:
    integration = aliased(Element)
    theirs = select(integration.id).where(
        col(integration.kind) == "integration",
        integration.spec["connectorKey"].astext.in_(apps),
    )
    return or_(col(Element.app).in_(apps), col(Element.integration_id).in_(theirs))
