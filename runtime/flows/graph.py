"""A flow as a graph to look at: its nodes and edges as data, and as text for Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runtime.config.specs.flows import TRIGGERS, FlowNode

__all__ = ["Edge", "Graph", "Vertex", "graph_of", "mermaid"]

_CONTROL = frozenset(
    {"transform-data", "filter", "branch", "for-each-v2", "wait", "wait-for-event", "approval"}
)
#: Characters of a text that is drawn.
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node of a flow, with its state in a run if it is a run's graph."""

    key: str
    type: str
    title: str
    kind: Literal["trigger", "control", "action"]
    state: str | None = None
    runs: int = 0
    failed: int = 0

    @property
    def subtitle(self) -> str:
        """What is written below the title."""
        counts = f" · {self.runs} runs" if self.runs > 1 else ""
        return f"{self.type}{counts}" + (f", {self.failed} failed" if self.failed else "")


@dataclass(frozen=True, slots=True)
class Edge:
    """A link, or the way from a for-each to what is done for each item."""

    source: str
    target: str
    label: str
    is_body: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Vertices and edges, in the order in which the flow has them."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]

    def shown(self) -> dict[str, Any]:
        """Return the graph as JSON."""
        return {
            "nodes": [
                {
                    "key": each.key,
                    "type": each.type,
                    "name": each.title,
                    "kind": each.kind,
                    **(
                        {"state": each.state, "runs": each.runs, "erroredRuns": each.failed}
                        if each.state
                        else {}
                    ),
                }
                for each in self.vertices
            ],
            "edges": [
                {
                    "from": each.source,
                    "to": each.target,
                    "label": each.label,
                    "kind": "each-item" if each.is_body else "link",
                }
                for each in self.edges
            ],
        }


def graph_of(
    nodes: Mapping[str, FlowNode],
    states: Mapping[str, tuple[str, Mapping[str, int]]] | None = None,
) -> Graph:
    """Return the graph of a flow; `states` has the state of nodes in a run, and their counts."""
    return Graph(
        tuple(_vertex(key, node, (states or {}).get(key)) for key, node in nodes.items()),
        tuple(edge for key, node in nodes.items() for edge in _edges(key, node)),
    )


def _vertex(key: str, node: FlowNode, seen: tuple[str, Mapping[str, int]] | None) -> Vertex:
    kind: Literal["trigger", "control", "action"] = "action"
    if node.type in TRIGGERS:
        kind = "trigger"
    elif node.type in _CONTROL:
        kind = "control"
    if seen is None:
        return Vertex(key, node.type, node.name or key, kind)
    state, counts = seen
    return Vertex(key, node.type, node.name or key, kind, state, counts["runs"], counts["failed"])


def _edges(key: str, node: FlowNode) -> Iterator[Edge]:
    root = node.config.get("rootNodeKey")
    if node.type == "for-each-v2" and isinstance(root, str):
        yield Edge(key, root, "each item", is_body=True)
    for link in node.links:
        label = link.name or ""
        if not label and link.filter is not None:
            label = "if"
        elif not label and node.type == "branch":
            label = "else"
        yield Edge(key, link.key, label)


# --- Mermaid ----------------------------------------------------------------------------------

_SHAPES = {"trigger": ('(["', '"])'), "control": ('{{"', '"}}'), "action": ('["', '"]')}
_CLASSES = {
    "completed": "fill:#dcf5e3,stroke:#1f8a47",
    "failed": "fill:#fde2e1,stroke:#c62f2b",
    "running": "fill:#dbeafe,stroke:#2563eb",
    "stopped": "fill:#eceef1,stroke:#6b7280",
}


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart."""
    ids = {each.key: f"n{number}" for number, each in enumerate(graph.vertices)}
    lines = ["flowchart TD"]
    for each in graph.vertices:
        begin, end = _SHAPES[each.kind]
        text = f"{_quoted(each.title)}<br/>{_quoted(each.subtitle)}"
        of_class = f":::{each.state}" if each.state in _CLASSES else ""
        lines.append(f"    {ids[each.key]}{begin}{text}{end}{of_class}")
    for edge in graph.edges:
        arrow = "-.->" if edge.is_body else "-->"
        label = f'|"{_quoted(edge.label)}"|' if edge.label else ""
        lines.append(f"    {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
    states = {each.state for each in graph.vertices}
    lines += [f"    classDef {name} {style}" for name, style in _CLASSES.items() if name in states]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text without anything that Mermaid or a page that shows it would take for its own.

    Mermaid writes a character as `#` and its number.
    """
    plain = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(
        each if each.isalnum() or each in " -_.,…·" else f"#{ord(each)};" for each in plain
    )
