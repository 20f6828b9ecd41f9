"""When a flow's trigger is live: the rules, over rows that were read before.

A flow has to be *instantiated* before the clock or an event may start it. That takes a row at the
connection's layer that says something, be it that the flow is enabled; or one at the tenant's for a
flow without a connection; or `autoCreateInstances` and a flow that stands at the connection's
integration, or at the workspace. What only stands in the public catalogue starts nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from runtime.config.resolve import Place, Resolved, resolve
from runtime.config.specs.flows import TRIGGERS, parse_flow
from runtime.config.store import ElementRow
from runtime.errors import ConfigurationError
from runtime.schedules.timing import timing_of_node

__all__ = ["Link", "Trigger", "TriggerId", "triggers_of"]

#: Types of trigger that something else than a call starts.
_BY_THEMSELVES = frozenset(TRIGGERS) - {"api-trigger"}
_SPACE = UUID("7d0ab1cf-5a0e-4f5c-9d7c-3f0f3f6a52c1")


@dataclass(frozen=True, slots=True)
class Link:
    """A connection of a tenant's, and whether flows may start over it."""

    id: UUID
    integration_id: UUID
    #: Key of the integration's connector.
    app: str | None
    #: Why it is of no use, in words; None if it is.
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class TriggerId:
    """What tells triggers of one tenant apart."""

    tenant_id: UUID
    flow_id: UUID
    node_key: str
    connection_id: UUID | None
    #: Which of the connection's instances of the flow; None for the first one.
    instance_key: str | None = None

    @property
    def uuid(self) -> UUID:
        """Return the id under which the trigger is known, now and whenever it comes back."""
        parts = [self.tenant_id, self.flow_id, self.connection_id, self.node_key]
        name = "/".join(map(str, parts))
        # A node's key may hold any character, so this one's place is behind a break of line.
        return uuid.uuid5(_SPACE, f"{name}\n{self.instance_key}" if self.instance_key else name)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of an instantiated flow, as it should be on record."""

    id: TriggerId
    flow_key: str
    type: str
    integration_id: UUID | None
    config: dict[str, Any]
    revision: str
    #: Why it is not live; None if it is.
    reason: str | None


def triggers_of(
    tenant_id: UUID,
    flows: Iterable[Sequence[ElementRow]],
    links: Sequence[Link],
    obstacles: dict[str, str | None],
) -> Iterator[Trigger]:
    """Yield the triggers of a tenant that is not archived.

    `flows` are the rows of each flow key that the tenant sees; `links` its connections that are not
    archived. `obstacles` is what is known by now of effective flows, by revision: most tenants have
    the same.
    """
    for rows in flows:
        yield from _triggers_at(tenant_id, rows, None, None, obstacles)
        for link in links:
            own = {row.instance_key for row in rows if row.connection_id == link.id}
            for instance in own | {None}:
                yield from _triggers_at(tenant_id, rows, link, instance, obstacles)


def _triggers_at(
    tenant_id: UUID,
    rows: Sequence[ElementRow],
    link: Link | None,
    instance: str | None,
    obstacles: dict[str, str | None],
) -> Iterator[Trigger]:
    place = Place(link.integration_id, link.app, link.id, instance) if link else Place()
    try:
        flow = resolve(rows, place)
    except ConfigurationError:  # a customisation of what is gone
        return
    if flow is None or not _is_instantiated(flow, place):
        return
    if flow.revision not in obstacles:
        obstacles[flow.revision] = _obstacle(flow)
    reason = (link.obstacle if link else None) or obstacles[flow.revision]
    for key, node in _nodes(flow):
        config = given if isinstance(given := node.get("config"), dict) else {}
        yield Trigger(
            id=TriggerId(tenant_id, flow.id, key, place.connection_id, instance),
            flow_key=flow.key,
            type=node["type"],
            integration_id=place.integration_id,
            config=config,
            revision=flow.revision,
            reason=reason or _untimely(node["type"], config),
        )


def _is_instantiated(flow: Resolved, place: Place) -> bool:
    wants = flow.spec.get("autoCreateInstances") is True
    if place.connection_id is None:
        near = {row.layer for row in flow.layers}
        return "tenant" in near or (wants and "workspace" in near)
    for row in flow.layers:
        # An instance that somebody only looked at is plain, and looking starts nothing.
        here = row.connection_id is not None and row.instance_key == place.instance_key
        if here and (row.spec or not row.is_patch):
            return True
        # What makes the first instance of a connection makes no further one.
        if row.integration_id is None or place.instance_key is not None:
            continue
        # At the tenant's layer: a flow of its own for the integration, not a change of another's.
        if (wants and row.layer == "integration") or (row.layer == "tenant" and not row.is_patch):
            return True
    return False


def _nodes(flow: Resolved) -> Iterator[tuple[str, dict[str, Any]]]:
    nodes = flow.spec.get("nodes")
    for key, node in nodes.items() if isinstance(nodes, dict) else ():
        if isinstance(node, dict) and node.get("type") in _BY_THEMSELVES:
            yield key, node


def _obstacle(flow: Resolved) -> str | None:
    try:
        spec = parse_flow(flow.spec, "The flow")
    except ConfigurationError as invalid:
        return invalid.message
    return None if spec.enabled else "The flow is not enabled."


def _untimely(kind: str, config: dict[str, Any]) -> str | None:
    if kind != "schedule-trigger":
        return None
    try:
        timing = timing_of_node(config)
    except ConfigurationError as invalid:
        return invalid.message
    return None if timing else "It does not say yet how often: cron, or intervalMinutes."
