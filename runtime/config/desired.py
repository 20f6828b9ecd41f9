"""Makes a row of the workspace's what somebody wants it to be, whether it is there yet or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.clock import now
from runtime.config.documents import check_document
from runtime.config.element_keys import check_key
from runtime.config.faults import Check, refuse_faults
from runtime.config.kinds import Kind
from runtime.config.merge import LAYERS, diff_patch, is_same
from runtime.config.places import Named, find_spot
from runtime.config.resolve import Place, applies, resolve
from runtime.config.rows import Viewer, as_layer, rows_by_keys
from runtime.config.target import Target
from runtime.config.write import Change, lock
from runtime.errors import BadRequestError, ConfigurationError, RevisionConflictError

__all__ = ["Standing", "Wanted", "find_standing", "make", "remove"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which row somebody speaks of, and in which state they saw it."""

    kind: Kind
    key: str
    integration: str | None = None
    #: Key of the connector that the element belongs to, at the workspace's layer.
    app: str | None = None
    #: Its revision; 0 if it was not there, None if that does not matter.
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The row as it is, locked for this transaction, and what it stands on."""

    wanted: Wanted
    target: Target
    place: Place
    own: Element | None
    #: Those that apply below it.
    below: Sequence[Element]


async def find_standing(session: AsyncSession, workspace_id: UUID, wanted: Wanted) -> Standing:
    """Lock an element and return the row.

    Raises RevisionConflictError if it is another than was seen.
    """
    for key in filter(None, (wanted.key, wanted.app)):
        check_key(key)
    viewer, kind = Viewer(workspace_id), wanted.kind
    spot = await find_spot(session, viewer, Named(integration=wanted.integration))
    place = spot.place or Place(app=wanted.app)
    layer = "integration" if wanted.integration else "workspace"
    if layer not in kind.layers:
        raise BadRequestError(
            f"{kind.plural} do not stand at the {layer} layer.",
            data={"errors": [{"path": "/kind", "message": "does not stand there"}]},
        )
    target = Target(layer, workspace_id, None, place.integration_id)
    await lock(session, kind, wanted.key, target)
    rows = await rows_by_keys(session, kind.name, [wanted.key], viewer)
    here = [row for row in rows if applies(as_layer(row), place)]
    held = [row for row in here if target.holds(row)]
    own = next((row for row in held if layer == "integration" or row.app == wanted.app), None)
    below = [
        row
        for row in here
        if row is not own and LAYERS.index(row.layer) <= LAYERS.index(target.layer)
    ]
    current = own.revision if own is not None else 0
    if wanted.revision not in (None, current):
        raise RevisionConflictError(
            f"{kind.singular} {wanted.key} was changed by somebody else since it was read.",
            data={"revision": current},
        )
    return Standing(wanted, target, place, own, below)


async def make(
    session: AsyncSession,
    standing: Standing,
    spec: dict[str, Any],
    check: Check,
    *,
    customizes: bool,
) -> Change | None:
    """Make the row this definition, or this customisation; None if it is that already.

    Raises ConfigurationError, with path and layer, if the element could not be used then.
    """
    wanted, own = standing.wanted, standing.own
    kind = wanted.kind
    check_document(spec, f"The {kind.singular} {wanted.key}")
    spec = dict(spec) if customizes else _whole(kind, wanted.key, spec)
    if customizes:
        _refuse_nothing_below(standing)
    if own is not None and (own.parent_id is not None) == customizes and is_same(own.spec, spec):
        return None
    # A row that is not the session's, so that nothing is written unless all is well.
    row = _row(standing, spec, customizes=customizes)
    found = resolve([as_layer(each) for each in (*standing.below, row)], standing.place)
    assert found is not None  # noqa: S101 - the new row itself is there
    refuse_faults(found, check, standing.target.layer)
    if own is None:
        session.add(row)
        await session.flush()
        return Change(row, "element:customised" if customizes else "element:created", spec)
    changes = _difference(own.spec, spec)
    own.spec, own.parent_id = spec, row.parent_id
    own.revision += 1
    own.updated_at = now()
    await session.flush()
    return Change(own, "element:customised" if customizes else "element:changed", changes)


async def remove(session: AsyncSession, standing: Standing) -> Change | None:
    """Archive the row, or drop the customisation; None if there is no row."""
    own = standing.own
    if own is None:
        return None
    if own.parent_id is not None:
        await session.delete(own)
        await session.flush()
        return Change(own, "element:reset", own.spec)
    own.archived_at = own.updated_at = now()
    own.revision += 1
    await session.flush()
    return Change(own, "element:archived", {"archivedAt": own.archived_at.isoformat()})


def _row(standing: Standing, spec: dict[str, Any], *, customizes: bool) -> Element:
    wanted, target, own = standing.wanted, standing.target, standing.own
    nearest = resolve([as_layer(each) for each in standing.below], standing.place)
    parent = nearest.layers[-1] if nearest and customizes else None
    app = wanted.app if target.integration_id is None else (parent.app if parent else None)
    return Element(
        kind=wanted.kind.name,
        layer=target.layer,
        workspace_id=target.workspace_id,
        integration_id=target.integration_id,
        app=app,
        key=wanted.key,
        parent_id=parent.id if parent else None,
        spec=spec,
        revision=own.revision + 1 if own is not None else 1,
    )


def _refuse_nothing_below(standing: Standing) -> None:
    if resolve([as_layer(each) for each in standing.below], standing.place) is None:
        wanted = standing.wanted
        raise ConfigurationError(
            f"There is no {wanted.kind.singular} {wanted.key} to customise: give connectorKey or"
            " integrationKey if it is an app's, or write the whole definition.",
            data={"errors": [{"path": "/customizes", "message": "customises nothing"}]},
        )


def _whole(kind: Kind, key: str, document: dict[str, Any]) -> dict[str, Any]:
    spec = {name: value for name, value in document.items() if value is not None}
    if not kind.is_keyed:
        return spec
    if spec.get("key", key) != key:
        raise BadRequestError(
            f"The specification says another key than {key!r}.",
            data={"errors": [{"path": "/spec/key", "message": "is another key"}]},
        )
    return {**spec, "key": key}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what changed, for the record: a merge patch, or else all that is there now."""
    try:
        return diff_patch(before, after)
    except ConfigurationError:
        return after
