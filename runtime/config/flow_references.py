"""What the nodes of a flow name by key: actions, other flows, data sources and the like.

What is named may come later, such as when a package is installed piece by piece, so that a key
which nothing has yet is no reason to refuse a flow: it is among what the flow shows as its errors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.element_keys import as_uuid
from runtime.config.rows import Viewer, rows_by_keys
from runtime.config.specs.flows import FlowNode, node_path

__all__ = ["Reference", "Referred", "missing", "references_of", "referred"]

#: Kind -> where a node's configuration may name one.
_PLACES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "data-source": [("dataSource", "key")],
    "field-mapping": [("fieldMapping", "key")],
    "data-link-table": [("dataLinkTable", "key")],
    "app-event-type": [("appEvent", "key"), ("appEventKey",)],
}
_OWN_PLACES: Mapping[str, tuple[str, Sequence[tuple[str, ...]]]] = {
    "run-action": ("action", [("action", "key"), ("action",), ("actionKey",)]),
    "run-flow": ("flow", [("flow", "key"), ("flow",), ("flowKey",)]),
}

#: (kind, key) -> the rows of that key.
Referred = Mapping[tuple[str, str], Sequence[Element]]


@dataclass(frozen=True, slots=True)
class Reference:
    """A key in a node's configuration."""

    node_key: str
    path: str
    kind: str
    key: str


def references_of(nodes: Mapping[str, FlowNode]) -> Iterator[Reference]:
    """Yield each key that nodes name; ids and formulas are no keys."""
    for node_key, node in nodes.items():
        places = [(kind, place) for kind, all_of in _PLACES.items() for place in all_of]
        if node.type in _OWN_PLACES:
            kind, own = _OWN_PLACES[node.type]
            places = [(kind, place) for place in own]
        for kind, place in places:
            key = _at(node.config, place)
            if isinstance(key, str) and key and as_uuid(key) is None:
                path = f"{node_path(node_key)}/config/{'/'.join(place)}"
                # `integration.key` says which one of that key.
                yield Reference(node_key, path, kind, key)


async def referred(
    session: AsyncSession, viewer: Viewer, references: Sequence[Reference]
) -> Referred:
    """Return what a viewer has of what is named."""
    keys: dict[str, set[str]] = defaultdict(set)
    for each in references:
        keys[each.kind] |= {each.key, each.key.partition(".")[2]}
    found: dict[tuple[str, str], list[Element]] = defaultdict(list)
    for kind, wanted in keys.items():
        for row in await rows_by_keys(session, kind, wanted - {""}, viewer):
            found[kind, row.key].append(row)
    return {
        (each.kind, each.key): found.get((each.kind, each.key))
        or found.get((each.kind, each.key.partition(".")[2]), [])
        for each in references
    }


def missing(references: Sequence[Reference], found: Referred) -> Iterator[dict[str, str]]:
    """Yield a fault for each key that nothing has: `{path, message}`."""
    for each in references:
        if not found[each.kind, each.key]:
            yield {"path": each.path, "message": f"there is no {each.kind} {each.key!r} yet"}


def _at(document: Any, place: Sequence[str]) -> Any:
    for step in place:
        document = document.get(step) if isinstance(document, dict) else None
    return document
