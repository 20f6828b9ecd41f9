"""Where an element is looked at from: integrations, connections and tenants, by id or key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import ColumnElement, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Connection, Element, Tenant
from runtime.config.element_keys import as_uuid
from runtime.config.resolve import Place
from runtime.config.rows import Viewer, visible_to
from runtime.errors import BadRequestError, NotFoundError

__all__ = [
    "Named",
    "Spot",
    "apps_of",
    "connectors_for",
    "find_spot",
    "integrations_of",
    "place_of_row",
]


@dataclass(frozen=True, slots=True)
class Named:
    """What narrows a request, each by id or key."""

    integration: str | None = None
    connection: str | None = None
    #: Whose view a manager asks for.
    tenant: str | None = None
    #: Which of several instances; its key.
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """A place and a viewer."""

    viewer: Viewer
    #: None if nothing narrows the request.
    place: Place | None


async def find_spot(session: AsyncSession, viewer: Viewer, named: Named) -> Spot:
    """Return where a request looks from.

    Raises NotFoundError for what this caller cannot see, and BadRequestError for a connection's key
    that several tenants use, if a manager names no tenant.
    """
    if named.tenant is not None:
        viewer = await _seen_as(session, viewer, named.tenant)
    integration = None
    if named.integration is not None:
        integration = await _integration(session, viewer, named.integration)
    if named.connection is None:
        at = _at(integration) if integration else None
        return Spot(viewer, at and replace(at, instance_key=named.instance))
    connection = await _connection(session, viewer, named.connection)
    own = await _integration(session, viewer, str(connection.integration_id))
    if integration is not None and integration.id != own.id:
        raise NotFoundError(
            f"The connection {connection.name!r} does not belong to the integration"
            f" {integration.key!r}."
        )
    place = Place(own.id, own.spec.get("connectorKey"), connection.id, named.instance)
    return Spot(Viewer(viewer.workspace_id, connection.tenant_id), place)


async def place_of_row(session: AsyncSession, viewer: Viewer, row: Element) -> Place:
    """Return the place that a row is about."""
    if row.connection_id is not None:
        named = Named(connection=str(row.connection_id), instance=row.instance_key)
        return (await find_spot(session, viewer, named)).place or Place()
    if row.integration_id is not None:
        return _at(await _integration(session, viewer, str(row.integration_id)))
    return Place(app=row.app, instance_key=row.instance_key)


async def integrations_of(
    session: AsyncSession, ids: Iterable[UUID]
) -> dict[UUID, tuple[str, str | None]]:
    """Return the key and the connector of integrations, archived ones too."""
    wanted = set(ids)
    if not wanted:
        return {}
    rows = await session.exec(select(Element).where(col(Element.id).in_(wanted)))
    return {row.id: (row.key, row.spec.get("connectorKey")) for row in rows.all()}


async def connectors_for(session: AsyncSession, viewer: Viewer, app: str) -> list[str]:
    """Return the keys of the connectors that are for an external app, by its id or key.

    Raises NotFoundError for one that there is not.
    """
    rows = await session.exec(
        select(Element.key).where(
            col(Element.kind) == "external-app",
            col(Element.archived_at).is_(None),
            _by_id_or_key(Element, app),
            visible_to(viewer),
        )
    )
    if (key := rows.first()) is None:
        raise NotFoundError(f"There is no external app {app[:100]!r}.")
    connectors = await session.exec(
        select(Element.key).where(
            col(Element.kind) == "connector",
            col(Element.archived_at).is_(None),
            func.coalesce(Element.spec["externalApp"].astext, col(Element.key)) == key,
            visible_to(viewer),
        )
    )
    return sorted(set(connectors.all()))


async def apps_of(session: AsyncSession, workspace_id: UUID) -> set[str]:
    """Return the connectors that the workspace has integrations for."""
    rows = await session.exec(
        select(Element.spec["connectorKey"].astext).where(
            col(Element.kind) == "integration",
            col(Element.workspace_id) == workspace_id,
            col(Element.archived_at).is_(None),
        )
    )
    return set(rows.all())


def _at(integration: Element) -> Place:
    return Place(integration.id, integration.spec.get("connectorKey"))


async def _seen_as(session: AsyncSession, viewer: Viewer, selector: str) -> Viewer:
    tenant_id = as_uuid(selector)
    which = col(Tenant.id) == tenant_id if tenant_id else col(Tenant.key) == selector
    rows = await session.exec(
        select(Tenant.id).where(which, col(Tenant.workspace_id) == viewer.workspace_id)
    )
    found = rows.first()
    if found is None:
        raise NotFoundError(f"There is no tenant {selector[:100]!r}.")
    return Viewer(viewer.workspace_id, found)


async def _integration(session: AsyncSession, viewer: Viewer, selector: str) -> Element:
    rows = await session.exec(
        select(Element).where(
            col(Element.kind) == "integration",
            col(Element.workspace_id) == viewer.workspace_id,
            col(Element.archived_at).is_(None),
            _by_id_or_key(Element, selector),
        )
    )
    row = rows.first()
    if row is None:
        raise NotFoundError(f"There is no integration {selector[:100]!r}.")
    return row


async def _connection(session: AsyncSession, viewer: Viewer, selector: str) -> Connection:
    conditions = [
        col(Connection.workspace_id) == viewer.workspace_id,
        col(Connection.archived_at).is_(None),
        _by_id_or_key(Connection, selector),
    ]
    if viewer.tenant_id is not None:
        conditions.append(col(Connection.tenant_id) == viewer.tenant_id)
    found = (await session.exec(select(Connection).where(*conditions).limit(2))).all()
    if not found:
        raise NotFoundError(f"There is no connection {selector[:100]!r}.")
    if len(found) > 1:
        raise BadRequestError(
            f"Several tenants have a connection {selector[:100]!r}; name one by its id.",
            data={"path": "/connectionId"},
        )
    return found[0]


def _by_id_or_key(table: type[Element | Connection], selector: str) -> ColumnElement[bool]:
    found = as_uuid(selector)
    return col(table.id) == found if found else col(table.key) == selector
