"""Changes elements: at the caller's own layer, never above it, one writer of an element at a time.

Every function works inside the caller's transaction and returns what it did, for the audit trail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.clock import now
from runtime.config.documents import check_document
from runtime.config.editable import editable_here, refuse_shadow
from runtime.config.faults import with_layers
from runtime.config.frozen import refuse_thawed
from runtime.config.kinds import Kind
from runtime.config.locate import Located
from runtime.config.merge import LayerSpec, check_editable, diff_patch, merge_patch
from runtime.config.patches import joined
from runtime.config.resolve import resolve
from runtime.config.rows import Viewer, as_layer, rows_by_keys
from runtime.config.store import ElementRow
from runtime.config.target import Target, layers_below, own_row
from runtime.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BadRequestError,
    ConfigurationError,
)

__all__ = [
    "Change",
    "Check",
    "Edit",
    "archive",
    "begin",
    "change",
    "create",
    "lock",
    "reset",
    "restore",
]

#: Takes a kind, a merged specification and how messages call it; raises ConfigurationError.
Check = Callable[[str, dict[str, Any], str], object]


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to one row."""

    row: Element
    tag: str
    #: Merge patch from what the row was to what it is; for a reset, the patch that was dropped.
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """What a caller wants an element to be."""

    document: dict[str, Any]
    #: Whether the document is the whole element, and not a merge patch.
    replaces: bool
    #: JSON pointers below which the caller may customise what lies above.
    allowed: Sequence[str]


async def lock(session: AsyncSession, kind: Kind, key: str, target: Target) -> None:
    """Wait until nobody else writes this element for this tenant or workspace."""
    name = f"{target.workspace_id}/{target.tenant_id}/{kind.name}/{key}"
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


async def create(
    session: AsyncSession,
    kind: Kind,
    target: Target,
    key: str,
    document: dict[str, Any],
    check: Check,
) -> Change:
    """Add a whole definition. AlreadyExistsError if its key is taken at this place."""
    await refuse_shadow(session, target, kind.name, key)
    spec = _whole(kind, key, document)
    _checked(kind, key, spec, [_definition(target.layer, spec)], check)
    row = _new_row(kind, target, key, spec)
    session.add(row)
    await _flush(session, row)
    return Change(row, "element:created", spec)


async def change(
    session: AsyncSession, located: Located, target: Target, edit: Edit, check: Check
) -> Change | None:
    """Patch or replace the caller's own row, or begin a customisation of what lies above.

    Returns None if that changes nothing. Raises AccessDeniedError, which names the path, for what
    may not be customised, and ConfigurationError for a result that is not valid.
    """
    if located.is_archived:
        raise BadRequestError(f"{located.key} is archived and cannot be changed; restore it first.")
    check_document(edit.document, f"The {located.kind.singular}")
    name = f"{located.kind.name}.{located.key}"
    edit = replace(edit, allowed=await editable_here(session, target, name, edit.allowed))
    own = own_row(located, target)
    if own is not None and own.parent_id is None:
        done = _redefine(located, own, edit, check)
    else:
        done = _customise(located, target, own, edit, check)
    if done is not None:
        session.add(done.row)
        await _flush(session, done.row)
    return done


async def begin(session: AsyncSession, located: Located, target: Target) -> Change | None:
    """Make the caller's own row of an element, as plain as what it stands on; None if there is one.

    That is how an instance begins.
    """
    if located.is_archived or own_row(located, target) is not None:
        return None
    below = layers_below(located, None)
    row = _new_row(located.kind, target, located.key, {})
    row.parent_id, row.app = below[-1].id, below[-1].app
    session.add(row)
    await _flush(session, row)
    return Change(row, "element:instance_created", {})


async def reset(session: AsyncSession, located: Located, target: Target) -> Change | None:
    """Drop the caller's customisation; None if there is none. An instance stays, as a plain one."""
    own = next((row for row in located.rows if target.holds(row)), None)
    if own is None:
        return None
    if own.parent_id is None:
        raise BadRequestError(
            f"{located.key} is defined here and customises nothing, so there is nothing to reset."
        )
    dropped = own.spec
    if own.layer == located.kind.instances:
        switches = located.kind.switches
        kept = {name: value for name, value in dropped.items() if name in switches}
        if kept == dropped:
            return None
        _rewrite(own, kept)
    else:
        await session.delete(own)
    await session.flush()
    return Change(own, "element:reset", dropped)


async def archive(session: AsyncSession, located: Located, target: Target) -> Change | None:
    """Archive the caller's own definition; None if it is archived already.

    Raises AccessDeniedError for what lies above, and for a customisation, which is reset instead;
    but an instance is archived.
    """
    if located.is_archived:
        _refuse_foreign(located, target, located.rows[0])
        return None
    own = own_row(located, target)
    if own is not None and own.parent_id is not None and own.layer != located.kind.instances:
        raise AccessDeniedError(
            f"{located.key} is defined above this token's layer. Reset it to drop what was"
            f" customised here (POST /{located.kind.plural}/{located.key}/reset)."
        )
    if own is None:
        base = located.row(located.effective().id)
        raise AccessDeniedError(
            f"{located.key} is defined at the {base.layer} layer, and this token archives only"
            f" what stands at the {target.layer} layer.",
            data={"layer": base.layer},
        )
    own.archived_at = own.updated_at = now()
    own.revision += 1
    await session.flush()
    return Change(own, "element:archived", {"archivedAt": own.archived_at.isoformat()})


async def restore(session: AsyncSession, located: Located, target: Target) -> Change | None:
    """Bring an archived definition back; None if it is not archived.

    Raises AlreadyExistsError if its key was taken meanwhile.
    """
    if not located.is_archived:
        return None
    row = located.rows[0]
    _refuse_foreign(located, target, row)
    await _make_way(session, row)
    row.archived_at = None
    row.updated_at = now()
    row.revision += 1
    await _flush(session, row)
    return Change(row, "element:restored", {"archivedAt": None})


async def _make_way(session: AsyncSession, row: Element) -> None:
    """Remove the instance that was begun where an archived one comes back, if it is still plain."""
    if row.parent_id is None or row.workspace_id is None:
        return
    rows = await rows_by_keys(session, row.kind, [row.key], Viewer(row.workspace_id, row.tenant_id))
    for other in rows:
        place = (other.layer, other.integration_id, other.connection_id, other.instance_key)
        here = (row.layer, row.integration_id, row.connection_id, row.instance_key)
        if place == here and other.parent_id is not None and not other.spec:
            await session.delete(other)
    await session.flush()


def _redefine(located: Located, own: Element, edit: Edit, check: Check) -> Change | None:
    before = own.spec
    after = edit.document if edit.replaces else merge_patch(before, edit.document)
    after = _whole(located.kind, own.key, after)
    changes = _difference(before, after)
    if changes is None:
        return None
    _checked(located.kind, own.key, after, [_definition(own.layer, after)], check)
    _rewrite(own, after)
    return Change(own, "element:changed", changes)


def _customise(
    located: Located, target: Target, own: Element | None, edit: Edit, check: Check
) -> Change | None:
    below = layers_below(located, own)
    lower = resolve([as_layer(row) for row in below], located.place)
    if lower is None:
        raise ConfigurationError(f"{located.key} has nothing left to customise.")
    before = own.spec if own is not None else {}
    if edit.replaces:
        after = diff_patch(lower.spec, _whole(located.kind, located.key, edit.document))
        check_editable(after, edit.allowed, base=lower.spec)
    else:
        check_editable(edit.document, edit.allowed, base=lower.spec)
        after = joined(lower.spec, before, edit.document)
    changes = _difference(before, after)
    if changes is None:
        return None
    merged = merge_patch(lower.spec, after)
    if located.kind.name == "field-mapping" and target.tenant_id is not None:
        refuse_thawed(lower.spec, merged)
    top = LayerSpec(target.layer, lower.id, 0, after, is_patch=True)
    _checked(located.kind, located.key, merged, [*lower.layers, top], check)
    if own is not None:
        _rewrite(own, after)
        return Change(own, "element:customised", changes)
    row = _new_row(located.kind, target, located.key, after)
    row.parent_id, row.app = below[-1].id, below[-1].app
    return Change(row, "element:customised", changes)


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any] | None:
    """Return what changed, for the record: a merge patch, or else all that is there now."""
    try:
        return diff_patch(before, after) or None
    except ConfigurationError:
        return after


def _whole(kind: Kind, key: str, document: dict[str, Any]) -> dict[str, Any]:
    spec = {name: value for name, value in document.items() if value is not None}
    return {**spec, "key": key} if kind.is_keyed else spec


def _checked(
    kind: Kind,
    key: str,
    spec: dict[str, Any],
    layers: Sequence[ElementRow | LayerSpec],
    check: Check,
) -> None:
    """Raise ConfigurationError if what the layers amount to is not valid; each fault has one."""
    what = f"The {kind.singular} {key}"
    try:
        check_document(spec, what)
        check(kind.name, spec, what)
    except ConfigurationError as invalid:
        data = {"errors": with_layers(invalid, layers), "layer": layers[-1].layer}
        raise ConfigurationError(invalid.message, data={**invalid.data, **data}) from None


def _definition(layer: str, spec: dict[str, Any]) -> LayerSpec:
    return LayerSpec(layer, UUID(int=0), 0, spec, is_patch=False)


def _new_row(kind: Kind, target: Target, key: str, spec: dict[str, Any]) -> Element:
    return Element(
        kind=kind.name,
        layer=target.layer,
        workspace_id=target.workspace_id,
        tenant_id=target.tenant_id,
        integration_id=target.integration_id,
        connection_id=target.connection_id,
        instance_key=target.instance_key,
        key=key,
        spec=spec,
    )


def _rewrite(row: Element, spec: dict[str, Any]) -> None:
    row.spec = spec
    row.revision += 1
    row.updated_at = now()


def _refuse_foreign(located: Located, target: Target, row: Element) -> None:
    """A tenant restores and archives its own rows, a manager the workspace's."""
    if row.tenant_id != target.tenant_id or row.workspace_id != target.workspace_id:
        raise AccessDeniedError(
            f"{located.key} stands at the {row.layer} layer, which this token does not write.",
            data={"layer": row.layer},
        )


async def _flush(session: AsyncSession, row: Element) -> None:
    key, layer = row.key, row.layer
    try:
        await session.flush()
    except IntegrityError as error:
        if "uq_elements_place" not in str(error.orig):
            raise
        raise AlreadyExistsError(
            f"The key {key!r} is taken at the {layer} layer.",
            data={"errors": [{"path": "/key", "message": "is taken"}], "layer": layer},
        ) from None
    await session.refresh(row)
