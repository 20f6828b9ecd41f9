"""What elements need of others, by key; so that one whose need was archived can say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, String, any_, literal
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.element_keys import as_uuid
from runtime.config.kinds import KINDS
from runtime.config.rows import Viewer, visible_to

__all__ = ["Known", "Need", "faults_of_needs", "known_of", "needs_of"]


class Need(NamedTuple):
    """An element that another one names."""

    #: JSON pointer of where it is named.
    path: str
    kind: str
    key: str


#: Kind and key of an element that there is.
Known = frozenset[tuple[str, str]]


def needs_of(kind: str, spec: Mapping[str, Any]) -> Iterator[Need]:
    """Yield what a merged specification names by key; what it names by a formula is not known."""
    match kind:
        case "action":
            yield from _of_config(spec.get("config"), "/config")
        case "flow":
            for key, node in _members(spec.get("nodes")):
                yield from _of_config(node.get("config"), f"/nodes/{key}/config")
        case "field-mapping":
            yield from _named("/dataSourceKey", "data-source", spec.get("dataSourceKey"))
        case "integration":
            yield from _named("/connectorKey", "connector", spec.get("connectorKey"))
        case "package":
            for at, member in enumerate(spec.get("elements") or ()):
                if member.get("element") is None:
                    yield from _named(f"/elements/{at}", member["type"], member.get("key"))


async def known_of(session: AsyncSession, viewer: Viewer, needs: Iterable[Need]) -> Known:
    """Return which of the needs there are, for a viewer; one query, however many they are."""
    wanted = {(need.kind, need.key) for need in needs}
    if not wanted:
        return frozenset()
    kinds, keys = ({pair[at] for pair in wanted} for at in (0, 1))
    found = await session.exec(
        select(Element.kind, Element.key)
        .where(
            col(Element.kind).in_(sorted(kinds)),
            col(Element.key) == any_(literal(sorted(keys), ARRAY(String))),
            col(Element.archived_at).is_(None),
            col(Element.parent_id).is_(None),
            visible_to(viewer),
        )
        .distinct()
    )
    return frozenset((kind, key) for kind, key in found.all())


def faults_of_needs(needs: Sequence[Need], known: Known) -> list[dict[str, str]]:
    """Return what is wrong with an element that needs others: `{path, message}` of each."""
    return [
        {
            "path": need.path,
            "message": f"the {KINDS[need.kind].singular} {need.key!r} is archived, or not there",
        }
        for need in needs
        if (need.kind, need.key) not in known
    ]


def _of_config(config: Any, where: str) -> Iterator[Need]:
    if not isinstance(config, Mapping):
        return
    source = config.get("dataSource")
    if isinstance(source, Mapping) and source.get("collectionKey") is None:
        yield from _named(f"{where}/dataSource/key", "data-source", source.get("key"))
    for name, kind in (("fieldMapping", "field-mapping"), ("dataLinkTable", "data-link-table")):
        named = config.get(name)
        if isinstance(named, Mapping):
            yield from _named(f"{where}/{name}/key", kind, named.get("key"))
    for name, kind in (("action", "action"), ("flow", "flow"), ("appEvent", "app-event-type")):
        named = config.get(name)
        if isinstance(named, Mapping):
            yield from _named(f"{where}/{name}/key", kind, named.get("key"))
        yield from _named(f"{where}/{name}Key", kind, config.get(f"{name}Key"))


def _named(path: str, kind: str, key: Any) -> Iterator[Need]:
    if isinstance(key, str) and key and as_uuid(key) is None:
        # `integrationKey.elementKey` is a way to name an element too.
        yield Need(path, kind, key.rpartition(".")[2])


def _members(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            if isinstance(member, Mapping):
                yield key, member
