"""What an element needs besides itself: the elements that its specification names by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.config.locate import Located
from runtime.config.places import integrations_of
from runtime.config.rows import rows_by_keys

__all__ = ["dependencies_of"]

#: Kind of what is named -> where a configuration, of an action or of a flow's node, may name it.
_CONFIGURED: Mapping[str, Sequence[str]] = {
    "data-source": ("dataSource",),
    "field-mapping": ("fieldMapping",),
    "data-link-table": ("dataLinkTable",),
    "app-event-type": ("appEvent", "appEventKey"),
    "action": ("action", "actionKey"),
    "flow": ("flow", "flowKey"),
}
#: Kind of what names -> its member, and the kind of what that names.
_MEMBERS: Mapping[str, tuple[str, str]] = {
    "integration": ("connectorKey", "connector"),
    "connector": ("externalApp", "external-app"),
    "field-mapping": ("dataSourceKey", "data-source"),
}
#: Kind of what names -> its list of elements by type and key.
_LISTS = {"package": "elements", "screen": "blocks"}


async def dependencies_of(session: AsyncSession, located: Located) -> list[dict[str, Any]]:
    """Return what an element needs: `{type, key, id, isMissing}` each, once.

    That is what it stands in, what it customises and what it names.
    """
    effective = located.effective()
    found = {
        (kind, key): None for kind, key in _references(located.kind.name, effective.spec) if key
    }
    items = await _around(session, located)
    for kind, key in found:
        rows = await rows_by_keys(
            session, kind, {key, key.partition(".")[2]} - {""}, located.viewer
        )
        named = next((row for row in rows if row.parent_id is None), None)
        items.append(_shown(kind, key, named and named.id))
    return items


async def _around(session: AsyncSession, located: Located) -> list[dict[str, Any]]:
    """Return the integration that an element stands in, and the element that it customises."""
    items = []
    place = located.place
    if place.integration_id is not None:
        keys = await integrations_of(session, [place.integration_id])
        items.append(_shown("integration", keys[place.integration_id][0], place.integration_id))
    nearest = located.effective().layers[-1]
    if nearest.is_patch:
        items.append(_shown(nearest.kind, nearest.key, located.effective().id))
    return items


def _references(kind: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if kind in _MEMBERS:
        member, other = _MEMBERS[kind]
        yield from _keys(other, spec.get(member))
    for each in _objects(spec.get(_LISTS.get(kind, ""))):
        if isinstance(each.get("type"), str):
            yield from _keys(each["type"], each.get("key"))
    if kind == "action":
        yield from _configured(spec.get("config"))
    if kind == "flow":
        nodes = spec.get("nodes")
        for node in _objects(list(nodes.values()) if isinstance(nodes, dict) else None):
            yield from _configured(node.get("config"))


def _configured(config: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(config, dict):
        return
    for kind, names in _CONFIGURED.items():
        for name in names:
            yield from _keys(kind, config.get(name))


def _keys(kind: str, named: Any) -> Iterator[tuple[str, str]]:
    """Yield a key that is given as a text or as `{key}`; a formula is none."""
    key = named.get("key") if isinstance(named, dict) else named
    if isinstance(key, str):
        yield kind, key


def _objects(several: Any) -> Iterator[dict[str, Any]]:
    yield from (each for each in several or () if isinstance(each, dict))


def _shown(kind: str, key: str, element_id: Any) -> dict[str, Any]:
    known = str(element_id) if element_id is not None else None
    return {"type": kind, "key": key, "id": known, "isMissing": known is None}
