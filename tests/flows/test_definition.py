"""What cannot work as a flow is refused when it is saved, at its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import ok
from tests.flows.test_running import START, step
from tests.samples import add_function


def _schema(**properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }


def _wants(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "transform-data", "config": {"output": 1}, "inputSchema": schema}


def _for_each(items: Any, root: Any = "b", **more: Any) -> dict[str, Any]:
    return {"type": "for-each-v2", "config": {"items": items, "rootNodeKey": root}, **more}


_TRIGGER = {
    "type": "api-trigger",
    "config": {"inputSchema": _schema(n="integer", tags="array")},
    "links": [{"key": "a"}],
}

#: The nodes of a flow, the place of its fault, and what is said of it.
_FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "nowhere": ({"start": START}, "/nodes/start/links/0", "'a', which is no node"),
    "circle": (
        {"start": START, "a": step(1, "b"), "b": step(1, "c"), "c": step(1, "a")},
        "/nodes/",
        "in a circle",
    ),
    "itself": ({"start": START, "a": step(1, "a")}, "/nodes/a/links/0", "in a circle: a → a"),
    "trigger": (
        {"start": START, "a": step(1, "start")},
        "/nodes/a/links/0",
        "a trigger follows nothing",
    ),
    "unreached": ({"start": START, "a": step(1), "b": step(1)}, "/nodes/b", "from no trigger"),
    "root": (
        {"start": START, "a": _for_each([1], "nope")},
        "/nodes/a/config/rootNodeKey",
        "'nope', which is no node",
    ),
    "no root": (
        {"start": START, "a": {"type": "for-each-v2", "config": {"items": [1]}}},
        "/nodes/a/config/rootNodeKey",
        "for each item",
    ),
    "no list": (
        {"start": START, "a": _for_each({"x": 1}), "b": step(1)},
        "/nodes/a/config/items",
        "list",
    ),
    "a number is no list": (
        {"start": _TRIGGER, "a": _for_each({"$var": "$.input.n"}), "b": step(1)},
        "/nodes/a/config/items",
        "is integer, not array",
    ),
    "a slash": ({"start": START, "a": step(1, "x/y"), "x/y": step(1)}, "/nodes/x~1y", "no slash"),
    "wrong type": (
        {"start": _TRIGGER, "a": _wants(_schema(n="string"))},
        "/nodes/start/links/0",
        "/n is integer, not string",
    ),
    "missing": (
        {"start": _TRIGGER, "a": _wants(_schema(name="string"))},
        "/nodes/start/links/0",
        "/name is required",
    ),
    "computed": (
        {
            "start": _TRIGGER,
            "a": step({"m": {"$var": "$.input.n"}}, "b"),
            "b": _wants(_schema(n="integer")),
        },
        "/nodes/a/links/0",
        "/n is required",
    ),
    "computed type": (
        {
            "start": _TRIGGER,
            "a": step({"m": {"$var": "$.input.n"}}, "b"),
            "b": _wants(_schema(m="string")),
        },
        "/nodes/a/links/0",
        "/m is integer, not string",
    ),
    "declared": (
        {
            "start": START,
            "a": step({"$var": "$.input"}, "b", outputSchema=_schema(n="array")),
            "b": _wants(_schema(n="object")),
        },
        "/nodes/a/links/0",
        "/n is array, not object",
    ),
    "through a filter": (
        {
            "start": {**_TRIGGER, "links": [{"key": "f"}]},
            "f": {"type": "filter", "config": {"filter": True}, "links": [{"key": "a"}]},
            "a": _wants(_schema(n="string")),
        },
        "/nodes/f/links/0",
        "/n is integer, not string",
    ),
    "an item": (
        {
            "start": {
                "type": "api-trigger",
                "config": {
                    "inputSchema": {
                        "type": "object",
                        "properties": {"rows": {"type": "array", "items": {"type": "string"}}},
                    }
                },
                "links": [{"key": "a"}],
            },
            "a": _for_each({"$var": "$.input.rows"}),
            "b": _wants(_schema(n="string")),
        },
        "/nodes/a/config/rootNodeKey",
        "is string, not object",
    ),
    "gathered": (
        {
            "start": START,
            "a": _for_each([1], links=[{"key": "c"}]),
            "b": step(1),
            "c": _wants(_schema(n="string")),
        },
        "/nodes/a/links/0",
        "is array, not object",
    ),
}


@pytest.mark.parametrize("name", _FAULTS)
async def test_faults_are_told_with_their_place(manager, name):
    """A flow that cannot work is refused; the error says where and why."""
    nodes, path, says = _FAULTS[name]
    answer = await manager.post("/flows", json={"key": "faulty", "nodes": nodes})
    assert answer.status_code == 400, answer.text
    faults = answer.json()["data"]["errors"]
    assert any(each["path"].startswith(path) and says in each["message"] for each in faults), faults


@pytest.mark.parametrize(
    "nodes",
    [
        {"start": _TRIGGER, "a": _wants(_schema(n="number"))},
        {
            "start": _TRIGGER,
            "a": _wants({"type": "object", "required": ["x"], "properties": {"x": {"default": 1}}}),
        },
        {"start": START, "a": step({"$var": "$.input"}, "b"), "b": _wants(_schema(n="string"))},
        {"start": START, "a": step({"x": 1}, "b"), "b": _wants({"anyOf": [{"type": "string"}]})},
        {
            "start": {"type": "api-trigger", "links": [{"key": "a"}]},
            "a": _for_each([1], links=[{"key": "c"}]),
            "b": step(1),
            "c": _wants({"type": "array"}),
        },
        {
            "start": START,
            "a": {
                **step({"x": 1}),
                "onError": "continue",
                "links": [{"key": "b", "filter": {"$var": "$.output.error"}}],
            },
            "b": _wants(_schema(error="object")),
        },
        {},
    ],
)
async def test_what_may_fit_is_no_fault(manager, nodes):
    """Only what cannot fit is refused: a schema leaves open more than it says."""
    answer = await manager.post("/flows", json={"key": "fine", "nodes": nodes})
    assert answer.status_code == 201, answer.text


async def test_an_output_must_fit_its_schema(flows):
    """A node whose output is not as its schema says fails, and says where."""
    misfit = step({"n": {"$var": "$.input"}}, "b", outputSchema=_schema(n="integer"))
    nodes = {"start": START, "a": misfit, "b": step("well")}
    key = await flows.make(nodes)
    assert await flows.output(key, 5) == "well"
    ended = await flows.ended(await flows.start(key, "text"), "failed")
    cause = ended["errors"][0]["data"]
    assert (cause["nodeKey"], cause["cause"]["data"]["errors"][0]["path"]) == ("a", "/n")


async def test_an_input_must_fit_its_schema(flows):
    """Any node may say what it takes; defaults are filled in."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}}
    taker = {**step({"$var": "$.input.n"}), "inputSchema": schema}
    key = await flows.make({"start": START, "a": taker})
    assert await flows.output(key, {}) == 3
    ended = await flows.ended(await flows.start(key, {"n": "x"}), "failed")
    assert ended["errors"][0]["data"]["cause"]["data"]["errors"][0]["path"] == "/n"


async def test_parameters_are_checked(flows, manager, acme):
    """A tenant's parameters fit the flow's schema; what has to be given is missed at the start."""
    schema = {
        "type": "object",
        "required": ["limit"],
        "properties": {"limit": {"type": "integer"}, "label": {"type": "string", "default": "x"}},
    }
    nodes = {"start": START, "a": step({"$var": "$.parameters"})}
    key = await flows.make(nodes, parametersSchema=schema)
    missing = await acme.post(f"/flows/{key}/run", json={})
    assert missing.status_code == 400
    assert missing.json()["data"]["errors"][0]["path"].startswith("/parameters")
    wrong = await acme.patch(f"/flows/{key}", json={"parameters": {"limit": "many"}})
    assert wrong.status_code == 400
    assert wrong.json()["data"]["errors"][0]["path"] == "/parameters/limit"
    await ok(acme.patch(f"/flows/{key}", json={"parameters": {"limit": 5}}))
    assert await flows.output(key) == {"limit": 5, "label": "x"}


async def test_what_is_not_there_yet_shows(flows, manager, platform, workspace):
    """A node may name an action that comes later; until then the flow says what is missing."""
    nodes = {
        "start": START,
        "a": {
            "type": "run-action",
            "config": {"action": {"key": "later"}},
            "links": [{"key": "b"}],
        },
        "b": {"type": "run-flow", "config": {"flowKey": "inner"}, "links": [{"key": "c"}]},
        "c": {
            "type": "list-data-records",
            "config": {"dataSource": {"key": "people"}, "fieldMapping": {"key": "names"}},
        },
    }
    key = await flows.make(nodes)
    shown = await ok(manager.get(f"/flows/{key}"))
    assert shown["state"] == "CONFIGURATION_ERROR"
    assert [fault["path"] for fault in shown["errors"]] == [
        "/nodes/a/config/action/key",
        "/nodes/b/config/flowKey",
        "/nodes/c/config/dataSource/key",
        "/nodes/c/config/fieldMapping/key",
    ]
    await add_function(platform, workspace.id, "later", config={"function": "echo"})
    await ok(manager.post("/flows", json={"key": "inner", "nodes": {}}), 201)
    shown = await ok(manager.post(f"/flows/{key}/setup"))
    assert [fault["path"] for fault in shown["errors"]] == [
        "/nodes/c/config/dataSource/key",
        "/nodes/c/config/fieldMapping/key",
    ]


async def test_an_actions_input_is_compared(flows, manager, platform, workspace):
    """What a node gives an action is held against what that action asks for."""
    await add_function(
        platform,
        workspace.id,
        "strict",
        config={"function": "echo"},
        inputSchema=_schema(n="integer"),
    )
    run = {"type": "run-action", "config": {"action": {"key": "strict"}, "input": {"m": 1}}}
    key = await flows.make({"start": START, "a": run})
    shown = await ok(manager.get(f"/flows/{key}"))
    assert [fault["path"] for fault in shown["errors"]] == ["/nodes/a/config/input"]
    assert "/n is required" in shown["errors"][0]["message"]
    passed = {"type": "run-action", "config": {"action": "strict"}}
    key = await flows.make({"start": START, "a": step({"n": "x"}, "b"), "b": passed})
    shown = await ok(manager.get(f"/flows/{key}"))
    assert [fault["path"] for fault in shown["errors"]] == ["/nodes/a/links/0"]
