"""Flows can be looked at: as a drawing, as Mermaid and as data; in a run with the nodes' states."""

from __future__ import annotations

import random
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from runtime.config.specs.flows import FlowNode
from runtime.flows.graph import graph_of
from runtime.flows.layout import lay_out
from runtime.flows.svg import svg
from tests.flows.test_running import START, step

_EVIL = '"><script>alert(1)</script>'


def _parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)  # noqa: S314 - what we have drawn


def _nodes(count: int, seed: int) -> dict[str, FlowNode]:
    """Return a random graph without circles."""
    chosen = random.Random(seed)
    nodes = {}
    for number in range(count):
        after = range(number + 1, count)
        targets = chosen.sample(after, min(len(after), chosen.randint(0, 3)))
        nodes[f"n{number}"] = FlowNode.model_validate(
            {"type": "transform-data", "links": [{"key": f"n{each}"} for each in targets]}
        )
    return nodes


@pytest.mark.parametrize("seed", range(20))
def test_links_lead_down_and_nothing_overlaps(seed):
    """Each link leads to a lower row, and nodes of a row stand apart."""
    graph = graph_of(_nodes(random.Random(seed).randint(1, 60), seed))
    widths = {each.key: 140.0 for each in graph.vertices}
    layout = lay_out(graph, widths)
    for edge in graph.edges:
        assert layout.row_of[edge.source] < layout.row_of[edge.target]
    for row in layout.rows:
        keys = [spot for spot in row if isinstance(spot, str)]
        for left, right in pairwise(keys):
            assert layout.middle[right] - layout.middle[left] > 140
    _parsed(svg(graph, "random"))


async def test_a_flow_is_drawn(flows):
    """A flow is had as SVG, as Mermaid and as JSON; the way to each item is told from links."""
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "config": {"items": [1], "rootNodeKey": "b"},
            "links": [{"key": "c", "name": "then"}],
        },
        "b": step(1),
        "c": step(2),
    }
    key = await flows.make(nodes, name="All of them")
    path = f"/flows/{key}/graph"
    shown = (await flows.tenant.get(path)).json()
    assert [node["key"] for node in shown["nodes"]] == ["start", "a", "b", "c"]
    assert [(edge["from"], edge["to"], edge["kind"]) for edge in shown["edges"]] == [
        ("start", "a", "link"),
        ("a", "b", "each-item"),
        ("a", "c", "link"),
    ]
    drawn = await flows.tenant.get(path, params={"format": "svg"})
    assert drawn.headers["content-type"].startswith("image/svg+xml")
    _parsed(drawn.text)
    assert "All of them" in drawn.text
    accepted = await flows.tenant.get(path, headers={"Accept": "image/svg+xml"})
    assert accepted.text == drawn.text
    text = (await flows.tenant.get(path, params={"format": "mermaid"})).text
    assert text.startswith("flowchart TD\n")
    assert '-->|"then"|' in text
    assert (await flows.tenant.get(path, params={"format": "png"})).status_code == 400
    assert (await flows.tenant.get("/flows/none/graph")).status_code == 404


async def test_a_tenants_graph_is_its_own(flows, acme, globex):
    """A customised flow is drawn as it is in force for who asks."""
    key = await flows.make({"start": START, "a": step(1)})
    patch = {"nodes": {"a": {"links": [{"key": "mine"}]}, "mine": step(2)}}
    assert (await acme.patch(f"/flows/{key}", json=patch)).status_code == 200
    drawn = [(await each.get(f"/flows/{key}/graph?format=svg")).text for each in (acme, globex)]
    assert ["mine" in each for each in drawn] == [True, False]


async def test_a_run_is_drawn_with_its_states(flows):
    """In a run's graph each node that ran has the state that it came to."""
    failing = {"type": "run-python", "config": {"function": "fail"}, "links": [{"key": "b"}]}
    run = await flows.start({"start": START, "a": failing, "b": step(1)})
    await flows.ended(run, "failed")
    shown = (await flows.tenant.get(f"/flow-runs/{run}/graph")).json()
    assert [node.get("state") for node in shown["nodes"]] == ["completed", "failed", None]
    text = (await flows.tenant.get(f"/flow-runs/{run}/graph?format=mermaid")).text
    assert ":::failed" in text
    assert (await flows.tenant.get(f"/flow-runs/{run}/graph?format=svg")).status_code == 200


async def test_names_are_only_text(flows):
    """What stands in a name is never more than text, in no format."""
    nodes = {
        "start": {
            "type": "api-trigger",
            "links": [{"key": _EVIL.replace("/", "|"), "name": _EVIL}],
        },
        _EVIL.replace("/", "|"): {**step(1), "name": _EVIL},
    }
    key = await flows.make(nodes, name=_EVIL)
    drawn = await flows.tenant.get(f"/flows/{key}/graph?format=svg")
    names = {each.tag.rpartition("}")[2] for each in _parsed(drawn.text).iter()}
    assert names <= {"svg", "title", "style", "defs", "marker", "path", "rect", "g", "text"}
    assert "default-src 'none'" in drawn.headers["content-security-policy"]
    text = (await flows.tenant.get(f"/flows/{key}/graph?format=mermaid")).text
    assert "<script" not in text
    assert len(text.splitlines()) == 4
