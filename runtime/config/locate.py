"""Finds the element that a selector means, with the layers that have a say where one looks from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.element_keys import as_uuid, is_selector
from runtime.config.kinds import Kind
from runtime.config.places import Named, Spot, apps_of, find_spot, place_of_row
from runtime.config.resolve import Place, Resolved, applies, resolve
from runtime.config.rows import Viewer, archived_rows, as_layer, row_by_id, rows_by_keys
from runtime.errors import BadRequestError, NotFoundError

__all__ = ["Located", "locate", "locate_archived", "nothing_here", "reread"]


@dataclass(frozen=True, slots=True)
class Located:
    """An element at a place, for a viewer."""

    kind: Kind
    key: str
    viewer: Viewer
    place: Place
    #: The rows that have a say here, in no order; one alone if it is archived.
    rows: Sequence[Element]

    @property
    def is_archived(self) -> bool:
        """Return whether this is an archived row, which takes part in nothing."""
        return any(row.archived_at is not None for row in self.rows)

    def effective(self, *, explain: bool = False) -> Resolved:
        """Return what the layers amount to.

        Raises ConfigurationError if a customisation has nothing left to customise.
        """
        found = resolve([as_layer(row) for row in self.rows], self.place, explain=explain)
        if found is None:
            raise nothing_here(self.kind, self.key)
        return found

    def row(self, element_id: UUID) -> Element:
        """Return one of the rows."""
        return next(row for row in self.rows if row.id == element_id)


async def locate(
    session: AsyncSession, kind: Kind, selector: str, viewer: Viewer, named: Named
) -> Located:
    """Find an element by id, by key or by `integrationKey.elementKey`.

    An id is that of any of its rows, archived or not, and looks from where that row stands; what
    `named` says narrows it. Raises NotFoundError, also for what belongs to another tenant, and
    BadRequestError for a key that several apps' elements have.
    """
    key, spot = await _start(session, kind, selector, viewer, named)
    element_id = as_uuid(key)
    if element_id is not None:
        return await _by_id(session, kind, element_id, spot)
    rows = await rows_by_keys(session, kind.name, [key], spot.viewer)
    place = spot.place
    if place is None:
        only = await _only_place(session, kind, rows, spot.viewer)
        place = replace(only or Place(), instance_key=named.instance)
    return _at(kind, key, Spot(spot.viewer, place), rows)


async def locate_archived(
    session: AsyncSession, kind: Kind, selector: str, viewer: Viewer, named: Named
) -> Located:
    """Find what to restore: of a key, the definition that the viewer archived last.

    Looked at from where instances stand, the last instance is found too. What was never archived
    is found as by `locate`.
    """
    key, spot = await _start(session, kind, selector, viewer, named)
    if as_uuid(key) is None:
        for row in await archived_rows(session, kind.name, key, spot.viewer):
            if row.parent_id is not None and not _is_instance_at(kind, row, spot, named):
                continue
            if spot.place is None or applies(as_layer(row), spot.place):
                return Located(kind, key, spot.viewer, _own_place(row), [row])
    return await locate(session, kind, selector, viewer, named)


async def reread(
    session: AsyncSession, located: Located, changed: Element | None
) -> Located | None:
    """Return an element as it is after a row of it was changed; None if nothing is left there."""
    if changed is not None and changed.archived_at is not None:
        return replace(located, rows=[changed])
    if located.is_archived and changed is None:
        return located
    rows = await rows_by_keys(session, located.kind.name, [located.key], located.viewer)
    here = [row for row in rows if applies(as_layer(row), located.place)]
    whole = any(row.parent_id is None for row in here)
    return replace(located, rows=here) if whole else None


def nothing_here(kind: Kind, selector: str) -> NotFoundError:
    """Return the error for a selector that names nothing that the caller can see."""
    return NotFoundError(f"There is no {kind.singular} {selector[:100]!r}.")


async def _start(
    session: AsyncSession, kind: Kind, selector: str, viewer: Viewer, named: Named
) -> tuple[str, Spot]:
    """Return the id or key, and the spot that its prefix and the request name."""
    if not is_selector(selector):
        raise nothing_here(kind, selector)
    spot = await find_spot(session, viewer, named)
    prefix, dot, key = selector.partition(".")
    if not dot:
        return selector, spot
    prefixed = await find_spot(session, viewer, replace(named, integration=prefix))
    here, there = spot.place, prefixed.place
    if here and there and here.integration_id != there.integration_id:
        raise nothing_here(kind, selector)
    return key, prefixed


async def _by_id(session: AsyncSession, kind: Kind, element_id: UUID, spot: Spot) -> Located:
    row = await row_by_id(session, kind.name, element_id)
    if row is None or (row.tenant_id and spot.viewer.tenant_id not in (None, row.tenant_id)):
        raise nothing_here(kind, str(element_id))
    viewer = Viewer(spot.viewer.workspace_id, row.tenant_id or spot.viewer.tenant_id)
    if row.archived_at is not None:
        return Located(kind, row.key, viewer, _own_place(row), [row])
    place = spot.place or await place_of_row(session, viewer, row)
    if row.instance_key is not None:
        place = replace(place, instance_key=row.instance_key)
    rows = await rows_by_keys(session, kind.name, [row.key], viewer)
    located = _at(kind, row.key, Spot(viewer, place), rows)
    if all(each.id != row.id for each in located.rows):
        raise nothing_here(kind, str(element_id))
    return located


def _own_place(row: Element) -> Place:
    return Place(row.integration_id, row.app, row.connection_id, row.instance_key)


def _is_instance_at(kind: Kind, row: Element, spot: Spot, named: Named) -> bool:
    """Return whether a customisation is the very instance that is looked at."""
    connection_id = spot.place.connection_id if spot.place else None
    here = (connection_id, named.instance)
    return row.layer == kind.instances and (row.connection_id, row.instance_key) == here


def _at(kind: Kind, key: str, spot: Spot, rows: Sequence[Element]) -> Located:
    place = spot.place or Place()
    here = [row for row in rows if applies(as_layer(row), place)]
    if not here:
        raise nothing_here(kind, key)
    return Located(kind, key, spot.viewer, place, here)


async def _only_place(
    session: AsyncSession, kind: Kind, rows: Sequence[Element], viewer: Viewer
) -> Place | None:
    """Return where a bare key leads: to what serves any app, else to the one app that has it.

    Of several apps, those count that the workspace has an integration for.
    """
    families: dict[tuple[object, ...], Element] = {}
    for row in [row for row in rows if row.parent_id is None] or rows:
        families.setdefault((row.app, row.integration_id, row.connection_id), row)
    if not families or (None, None, None) in families:
        return None
    if len(families) > 1:
        apps = await apps_of(session, viewer.workspace_id)
        used = {
            family: row
            for family, row in families.items()
            if row.integration_id or row.connection_id or row.app in apps
        }
        families = used or families
    first = next(iter(families.values()))
    if len(families) > 1:
        raise BadRequestError(
            f"Several apps have {kind.singular} {first.key!r}; name one by its id, or say"
            " integrationKey or connectionId.",
            data={"choices": [_choice(row) for row in list(families.values())[:20]]},
        )
    return await place_of_row(session, viewer, first)


def _choice(row: Element) -> dict[str, str | None]:
    return {
        "id": str(row.id),
        "key": row.key,
        "app": row.app,
        "integrationId": str(row.integration_id) if row.integration_id else None,
        "connectionId": str(row.connection_id) if row.connection_id else None,
    }
