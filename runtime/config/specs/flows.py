"""A tenant's work in several steps, as a graph: nodes, and links from each to those that follow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from runtime.config.specs.base import Spec
from runtime.config.specs.base_action import Retry
from runtime.errors import ConfigurationError
from runtime.validation import parse

__all__ = [
    "NODE_ACTIONS",
    "NODE_TYPES",
    "TRIGGERS",
    "FlowLink",
    "FlowNode",
    "FlowSpec",
    "graph_faults",
    "node_path",
    "parse_flow",
]

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
NODE_TYPES = frozenset((*TRIGGERS, *_STEPS))

_KEY = re.compile(r"[^/\x00-\x1f]{1,100}")
_KEY_RULE = "a node's key has 1 to 100 characters, and no slash"


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
        if self.type not in NODE_TYPES:
            raise ValueError(
                f"{self.type[:100]!r} is no type of node: {', '.join(sorted(NODE_TYPES))}"
            )
        return self

    def followers(self, here: str = "") -> Iterator[tuple[str, str]]:
        """Yield each key that this node leads to, a for-each's first one included, with its path.

        `here` is the JSON pointer of the node.
        """
        yield from ((f"{here}/links/{at}", link.key) for at, link in enumerate(self.links))
        root = self.config.get("rootNodeKey")
        if self.type == "for-each-v2" and isinstance(root, str):
            yield f"{here}/config/rootNodeKey", root


class FlowSpec(Spec):
    """A flow. Its links lead somewhere and never back; a trigger starts it and follows nothing."""

    nodes: dict[str, FlowNode] = Field(default_factory=dict, max_length=500)
    parameters_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True
    auto_create_instances: bool = False


def parse_flow(spec: dict[str, Any], what: str) -> FlowSpec:
    """Return a merged specification as a flow that can be walked through.

    Raises ConfigurationError with data {errors: [{path, message}]}; `what` begins its message.
    """
    flow = parse(FlowSpec, spec, ConfigurationError, what)
    if faults := list(graph_faults(flow.nodes)):
        first, more = faults[0], f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigurationError(
            f"{what} is not valid: {first['path']}: {first['message']}{more}",
            data={"errors": faults},
        )
    return flow


def graph_faults(nodes: Mapping[str, FlowNode]) -> Iterator[dict[str, str]]:
    """Yield why a graph cannot be walked through: `{path, message}` a fault."""
    is_whole = True
    for key, node in nodes.items():
        here = node_path(key)
        if not _KEY.fullmatch(key):
            yield {"path": here, "message": _KEY_RULE}
        for path, follower in node.followers(here):
            if follower not in nodes:
                is_whole = False
                yield {"path": path, "message": f"leads to {follower!r}, which is no node"}
            elif nodes[follower].type in TRIGGERS:
                yield {"path": path, "message": f"leads to {follower!r}: a trigger follows nothing"}
    if is_whole and (circle := _circle(nodes)):
        way = " → ".join(circle)
        path = next(
            path
            for path, key in nodes[circle[-2]].followers(node_path(circle[-2]))
            if key == circle[-1]
        )
        yield {"path": path, "message": f"leads in a circle: {way}"}


def node_path(key: str) -> str:
    """Return the JSON pointer of a node in its flow."""
    return "/nodes/" + key.replace("~", "~0").replace("/", "~1")


def _circle(nodes: Mapping[str, FlowNode]) -> list[str]:
    """Return a circle of links, from a node back to itself; nothing if there is none.

    Nodes that nothing leads to are taken away until none is left (Kahn, 1962); what cannot be
    taken away lies on a circle or behind one.
    """
    incoming = dict.fromkeys(nodes, 0)
    for node in nodes.values():
        for _, follower in node.followers():
            incoming[follower] += 1
    free = [key for key, count in incoming.items() if count == 0]
    while free:
        for _, follower in nodes[free.pop()].followers():
            incoming[follower] -= 1
            if incoming[follower] == 0:
                free.append(follower)
    left = {key for key, count in incoming.items() if count > 0}
    # Walked backwards, from what is left to what leads to it, until a node comes again.
    walk: list[str] = []
    place = next(iter(left), None)
    while place is not None and place not in walk:
        walk.append(place)
        place = next(key for key in left if place in _keys_after(nodes[key]))
    return [] if place is None else [place, *reversed(walk[walk.index(place) :])]


def _keys_after(node: FlowNode) -> list[str]:
    return [key for _, key in node.followers()]
