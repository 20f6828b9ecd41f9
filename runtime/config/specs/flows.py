"""A tenant's work in several steps, as a graph: nodes, and links from each to those that follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from runtime.config.specs.base import Spec
from runtime.config.specs.base_action import Retry

__all__ = ["NODE_ACTIONS", "TRIGGERS", "FlowLink", "FlowNode", "FlowSpec"]

#: What a node may be: the contract's active types, and those that only we have.
TRIGGERS = (
    *("api-trigger", "schedule-trigger", "app-event-trigger", "connector-event-trigger"),
    *("data-record-created-trigger", "data-record-updated-trigger", "data-record-deleted-trigger"),
)
_STEPS = (
    *("list-data-records", "search-data-records", "lookup-data-record", "find-data-record-by-id"),
    *("find-or-create-data-record", "create-data-record", "update-data-record"),
    *("delete-data-record", "create-data-link", "find-data-link", "delete-data-link"),
    *("transform-data", "filter", "for-each-v2", "run-javascript", "run-action"),
    *("integration-specific-operation", "api-request-to-your-app"),
    *("api-request-to-external-app", "custom-http-request"),
    *("wait", "wait-for-event", "approval", "branch", "run-flow", "run-python"),
)
#: Types of node that are actions by another name.
NODE_ACTIONS = {
    "custom-http-request": "http-request",
    "integration-specific-operation": "connector-operation",
    "search-data-records": "search-data-record",
    "lookup-data-record": "match-data-record",
}
_TYPES = frozenset((*TRIGGERS, *_STEPS))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


class FlowLink(_Part):
    """Where a node's outputs go; `filter` is a formula over `$.output` and `$.input`."""

    key: str = Field(min_length=1, max_length=100)
    name: str | None = Field(default=None, max_length=200)
    filter: Any = None


class FlowNode(_Part):
    """One step, and what follows it."""

    type: str
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    version: int | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    links: list[FlowLink] = Field(default_factory=list, max_length=100)
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    on_error: Literal["stop", "continue"] = "stop"
    retry: Retry | None = None
    #: Seconds that one run of the node may take; None for what its type allows.
    timeout: float | None = Field(default=None, gt=0, le=3000)
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    output_example: Any = None
    test_input: Any = None
    ui: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.type not in _TYPES:
            raise ValueError(f"{self.type[:100]!r} is no type of node: {', '.join(sorted(_TYPES))}")
        return self

    def followers(self) -> Iterator[str]:
        """Yield the keys of the nodes that this one leads to, a for-each's first one included."""
        yield from (link.key for link in self.links)
        root = self.config.get("rootNodeKey")
        if self.type == "for-each-v2" and isinstance(root, str):
            yield root


class FlowSpec(Spec):
    """A flow. Its links lead somewhere and never back; a trigger starts it and follows nothing."""

    nodes: dict[str, FlowNode] = Field(default_factory=dict, max_length=500)
    parameters_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True
    auto_create_instances: bool = False

    @model_validator(mode="after")
    def _is_a_graph(self) -> Self:
        for key, node in self.nodes.items():
            for follower in node.followers():
                if follower not in self.nodes:
                    raise ValueError(f"nodes/{key}: a link leads to {follower!r}, which is no node")
                if self.nodes[follower].type in TRIGGERS:
                    raise ValueError(f"nodes/{key}: a link leads to the trigger {follower!r}")
        if circle := _circle(self.nodes):
            raise ValueError(f"the links lead in a circle: {' → '.join(circle)}")
        return self


def _circle(nodes: Mapping[str, FlowNode]) -> list[str]:
    """Return a circle of links, from a node back to itself; nothing if there is none.

    Nodes that nothing leads to are taken away until none is left (Kahn, 1962); what cannot be
    taken away lies on a circle or behind one.
    """
    incoming = dict.fromkeys(nodes, 0)
    for node in nodes.values():
        for follower in node.followers():
            incoming[follower] += 1
    free = [key for key, count in incoming.items() if count == 0]
    while free:
        for follower in nodes[free.pop()].followers():
            incoming[follower] -= 1
            if incoming[follower] == 0:
                free.append(follower)
    left = {key for key, count in incoming.items() if count > 0}
    # Walked backwards, from what is left to what leads to it, until a node comes again.
    walk: list[str] = []
    place = next(iter(left), None)
    while place is not None and place not in walk:
        walk.append(place)
        place = next(key for key in left if place in nodes[key].followers())
    return [] if place is None else [place, *reversed(walk[walk.index(place) :])]
