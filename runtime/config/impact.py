"""What a change of a layer that tenants share would do to each of them, before it is made.

Tenants with no row of their own share one answer for each integration, so however many there are,
it is worked out once. Those that have adapted the element are worked out one by one, a page at a
time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from runtime.config.customers import Adapter, Following, Link
from runtime.config.difference import differing_paths
from runtime.config.faults import Check, Fault, faults_of, with_layers
from runtime.config.locate import Located
from runtime.config.resolve import Place, Resolved, applies, resolve
from runtime.config.store import ElementRow
from runtime.errors import ConfigurationError

__all__ = ["Effect", "Impact"]

#: Paths and faults that are told of one tenant.
_TOLD = 200


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of the element as somebody has it."""

    #: JSON pointers of the values that would change.
    changes: Sequence[str]
    #: Of those that change below: what a nearer layer keeps as it is.
    shielded: Sequence[str] = ()
    #: What would be wrong with the result.
    errors: Sequence[Fault] = ()
    #: Whether it could not be used before either.
    was_invalid: bool = False

    @property
    def outcome(self) -> str:
        """Return `invalid`, `changed`, `shielded` or `unchanged`."""
        if self.errors:
            return "invalid"
        if self.changes:
            return "changed"
        return "shielded" if self.shielded else "unchanged"

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it; long lists are cut, and `isCut` says so."""
        lists: dict[str, Sequence[Any]] = {
            "changes": self.changes,
            "shielded": self.shielded,
            "errors": self.errors,
        }
        cut = any(len(each) > _TOLD for each in lists.values())
        return {
            "outcome": self.outcome,
            **{name: list(each[:_TOLD]) for name, each in lists.items()},
            **({"wasInvalid": True} if self.was_invalid else {}),
            **({"isCut": True} if cut else {}),
        }


@dataclass(frozen=True, slots=True)
class _State:
    """An element at a place: its specification, or why there is none."""

    resolved: Resolved | None
    spec: Mapping[str, Any]
    faults: Sequence[Fault] = ()


@dataclass(slots=True)
class Impact:
    """A change of one row that tenants share, and what it does from where one looks."""

    located: Located
    #: Every row that tenants share, at any place, as they are.
    shared: Sequence[ElementRow]
    #: The row as it would be.
    row: ElementRow
    check: Check
    #: How often layers were merged and compared, to be told: it does not grow with the tenants.
    comparisons: int = 0
    _after: Sequence[ElementRow] = ()
    _effects: dict[tuple[UUID, ...], Effect] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay the new row among those that are shared."""
        others = [row for row in self.shared if row.id != self.row.id]
        self._after = [*others, self.row]

    def shared_effects(self, who: Following) -> Iterable[dict[str, Any]]:
        """Yield what those have to expect who have no row of their own, by integration."""
        effect = self._effect(self.located.place)
        if effect.outcome != "unchanged":
            yield {"tenants": who.tenants, **effect.shown()}
        for link in self._concerned(who.links):
            effect = self._effect(_place(link))
            if effect.outcome != "unchanged":
                yield {
                    "integrationId": str(link.integration_id),
                    "integrationKey": link.integration_key,
                    "tenants": link.tenants,
                    "connections": link.connections,
                    **effect.shown(),
                }

    async def effects_on(self, tenants: Sequence[Adapter]) -> list[dict[str, Any]]:
        """Return what each tenant has to expect, as it has the element and over its connections."""
        items: list[dict[str, Any]] = []
        for tenant in tenants:
            await asyncio.sleep(0)  # a merge of a large element takes milliseconds
            items += [each for each in self._of_tenant(tenant) if each["outcome"] != "unchanged"]
        return items

    def _of_tenant(self, tenant: Adapter) -> Iterable[dict[str, Any]]:
        told: dict[tuple[UUID, ...], dict[str, Any]] = {}
        spots: list[tuple[Place, int, UUID | None]] = [(self.located.place, 0, None)]
        spots += [(_place(link), link.connections, None) for link in self._concerned(tenant.links)]
        for single, link in tenant.own.items():
            if self._concerned([link]):
                instances = {row.instance_key for row in tenant.rows if row.connection_id == single}
                for at, instance in enumerate(sorted({None, *instances}, key=str)):
                    place = Place(link.integration_id, link.app, single, instance)
                    spots.append((place, int(at == 0), single))
        for place, connections, connection_id in spots:
            layers = self._layers(self._after, tenant.rows, place)
            item = told.get(layers)
            if item is None:
                effect = self._effect(place, tenant.rows)
                item = told[layers] = {
                    "tenantId": str(tenant.id),
                    "tenantKey": tenant.key,
                    "connectionIds": [],
                    "connections": 0,
                    **effect.shown(),
                }
            item["connections"] += connections
            if connection_id is not None and str(connection_id) not in item["connectionIds"]:
                item["connectionIds"].append(str(connection_id))
        return told.values()

    def _concerned(self, links: Iterable[Link]) -> list[Link]:
        """Return the integrations in whose connections the row has a say."""
        kind = self.located.kind.name
        if kind == "integration":
            return [link for link in links if link.integration_id == self.row.id]
        if kind == "connector":
            return [link for link in links if link.app == self.row.key]
        return [link for link in links if applies(self.row, _place(link))]

    def _effect(self, place: Place, own: Sequence[ElementRow] = ()) -> Effect:
        """Return the effect at a place; the same layers have it once."""
        layers = self._layers(self._after, own, place)
        effect = self._effects.get(layers)
        if effect is None:
            effect = self._compared(place, own)
            if not own:
                self._effects[layers] = effect
        return effect

    def _compared(self, place: Place, own: Sequence[ElementRow]) -> Effect:
        self.comparisons += 1
        before = self._state([*self.shared, *own], place)
        after = self._state([*self._after, *own], place)
        changes = differing_paths(before.spec, after.spec)
        shielded: list[str] = []
        if own:
            shielded = _untouched(self._effect(place).changes, changes)
        if not changes:
            return Effect(changes, shielded)
        # To check a large element takes longer than all the rest; few have to be looked at twice.
        errors = self._faults(after)
        return Effect(changes, shielded, errors, bool(errors) and bool(self._faults(before)))

    def _state(self, rows: Sequence[ElementRow], place: Place) -> _State:
        """Return what rows amount to at a place."""
        try:
            found = resolve(rows, place)
        except ConfigurationError as broken:
            here = [row for row in rows if applies(row, place)]
            return _State(None, {}, with_layers(broken, here))
        return _State(found, found.spec if found else {})

    def _faults(self, state: _State) -> Sequence[Fault]:
        return faults_of(state.resolved, self.check) if state.resolved else state.faults

    def _layers(
        self, shared: Sequence[ElementRow], own: Sequence[ElementRow], place: Place
    ) -> tuple[UUID, ...]:
        return tuple(row.id for row in (*shared, *own) if applies(row, place))


def _place(link: Link) -> Place:
    return Place(link.integration_id, link.app)


def _untouched(paths: Iterable[str], changes: Iterable[str]) -> list[str]:
    """Return the paths with no change at them, above them or below them."""
    changed = set(changes)
    around = {above for path in changed for above in _upwards(path)}
    return [path for path in paths if path not in around and not changed & {*_upwards(path)}]


def _upwards(path: str) -> Iterable[str]:
    """Yield a path and those above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]
