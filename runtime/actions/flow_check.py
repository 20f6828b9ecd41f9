"""Whether the nodes of a flow fit together: all are reached, and what one puts out suits the next.

Where both sides say what they look like. A schema leaves open more than it says, so only what
cannot fit is a fault: another type, or a required property that the other side does not know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from runtime.actions.schema import check_input
from runtime.config.specs.flows import TRIGGERS, FlowNode, FlowSpec, node_path
from runtime.errors import ConfigurationError, InputInvalidError

__all__ = ["Fault", "conflicts", "faults_of_flow", "likely_schema", "shapes_of"]

#: `{path, message}`
Fault = dict[str, str]
#: A JSON schema; None where nothing is known.
Shape = dict[str, Any] | None

_NUMBER, _LIST = {"type": "number"}, {"type": "array"}
_RESPONSE = {"type": "object", "properties": {"status": {"type": "integer"}, "data": {}}}
_RECORDS = {"type": "object", "properties": {"records": _LIST, "cursor": {}}}
_LITERALS: dict[type, Shape] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: _NUMBER,
    str: {"type": "string"},
    list: _LIST,
}
#: What nodes put out, by type.
_SHAPES: dict[str, Shape] = {
    "for-each-v2": _LIST,
    "approval": {
        "type": "object",
        "properties": {"approved": {"type": "boolean"}, "comment": {}, "data": {}, "by": {}},
    },
    "api-request-to-external-app": _RESPONSE,
    "api-request-to-your-app": _RESPONSE,
    "custom-http-request": _RESPONSE,
    "list-data-records": _RECORDS,
    "search-data-records": _RECORDS,
}
_PASSING_ON = frozenset({"filter", "branch", "wait"})
#: Words of a schema beyond which nothing is concluded.
_OPEN = frozenset({"$ref", "anyOf", "oneOf", "allOf", "not", "if"})


def faults_of_flow(flow: FlowSpec) -> Iterator[Fault]:
    """Yield what is wrong with how a flow's nodes go together; its graph is in order."""
    for key in _unreached(flow.nodes):
        yield {"path": node_path(key), "message": "is reached from no trigger"}
    for key, node in flow.nodes.items():
        if node.type == "for-each-v2":
            yield from _faults_of_for_each(node, f"{node_path(key)}/config")
    yield from _faults_of_parameters(flow)
    yield from _faults_along_links(flow.nodes)


def _unreached(nodes: Mapping[str, FlowNode]) -> list[str]:
    reached: set[str] = set()
    ahead = [key for key, node in nodes.items() if node.type in TRIGGERS]
    while ahead:
        key = ahead.pop()
        if key not in reached:
            reached.add(key)
            ahead += (follower for _, follower in nodes[key].followers())
    return [key for key in nodes if key not in reached]


def _faults_of_for_each(node: FlowNode, where: str) -> Iterator[Fault]:
    if not isinstance(node.config.get("rootNodeKey"), str):
        message = "names the node that is run for each item"
        yield {"path": f"{where}/rootNodeKey", "message": message}
    items = node.config.get("items")
    if items is None or (not _is_formula(items) and not isinstance(items, list)):
        yield {"path": f"{where}/items", "message": "is a list, or a formula for one"}


def _faults_of_parameters(flow: FlowSpec) -> Iterator[Fault]:
    """Check the parameters that there are; what is missing may be given by a tenant."""
    if flow.parameters_schema is None:
        return
    try:
        check_input(_without_required(flow.parameters_schema), flow.parameters)
    except ConfigurationError:
        return  # the schema's own fault
    except InputInvalidError as invalid:
        for fault in invalid.data["errors"]:
            yield {"path": f"/parameters{fault['path']}", "message": fault["message"]}


def _without_required(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: _without_required(value)
            for name, value in schema.items()
            if not (name == "required" and isinstance(value, list))
        }
    return [_without_required(each) for each in schema] if isinstance(schema, list) else schema


def _faults_along_links(nodes: Mapping[str, FlowNode]) -> Iterator[Fault]:
    shapes = shapes_of(nodes)
    for key, node in nodes.items():
        here, passed = node_path(key), shapes[key].passed
        for at, link in enumerate(node.links):
            if node.on_error == "continue" and link.filter is not None:
                continue  # it may be taken by errors only
            for path, message in conflicts(passed, nodes[link.key].input_schema):
                what = f"what {key!r} puts out does not suit {link.key!r}: {path or '/'} {message}"
                yield {"path": f"{here}/links/{at}", "message": what}
        if node.type == "for-each-v2":
            yield from _faults_of_items(nodes, key, shapes[key])


def _faults_of_items(nodes: Mapping[str, FlowNode], key: str, shape: _Shapes) -> Iterator[Fault]:
    where, root = f"{node_path(key)}/config", nodes[key].config.get("rootNodeKey")
    for path, message in conflicts(shape.items_from, _LIST):
        yield {"path": f"{where}/items", "message": f"{path}{message}"}
    if isinstance(root, str):
        for path, message in conflicts(shape.item, nodes[root].input_schema):
            what = f"an item does not suit {root!r}: {path or '/'} {message}"
            yield {"path": f"{where}/rootNodeKey", "message": what}


class _Shapes:
    """What is known of what comes to a node, and of what it passes on."""

    def __init__(self, node: FlowNode, given: Shape) -> None:
        self.given = given
        self.items_from: Shape = None
        self.item: Shape = None
        if node.type == "for-each-v2":
            self.items_from = _looked_up(node.config.get("items"), given)
            inner = (self.items_from or {}).get("items")
            self.item = inner if isinstance(inner, dict) else None
        self.passed = _passed(node, given)


def shapes_of(nodes: Mapping[str, FlowNode]) -> dict[str, _Shapes]:
    """Return what is known of each node's input and output. The graph has no circle."""
    before: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for key, node in nodes.items():
        for link in node.links:
            before[link.key].append((key, False))
        root = node.config.get("rootNodeKey")
        if node.type == "for-each-v2" and isinstance(root, str):
            before[root].append((key, True))
    found: dict[str, _Shapes] = {}

    def shape_of(key: str) -> _Shapes:
        # A node that several lead to may get either's output, so nothing is concluded.
        if key not in found:
            given: Shape = None
            if len(before[key]) == 1:
                (above, is_item), shapes = before[key][0], shape_of(before[key][0][0])
                given = shapes.item if is_item else shapes.passed
                if nodes[above].on_error == "continue":
                    given = None
            found[key] = _Shapes(nodes[key], given)
        return found[key]

    for key in nodes:
        shape_of(key)
    return found


def _passed(node: FlowNode, given: Shape) -> Shape:
    if node.output_schema is not None:
        return node.output_schema
    if node.type in TRIGGERS:
        schema = node.config.get("inputSchema") or node.input_schema
        return schema if isinstance(schema, dict) else None
    if node.type in _PASSING_ON:
        return given
    if node.type == "transform-data":
        return likely_schema(node.config.get("output"), given)
    if node.type == "run-javascript":
        schema = node.config.get("outputSchema")
        return schema if isinstance(schema, dict) else None
    return _SHAPES.get(node.type)


def likely_schema(template: Any, given: Shape = None) -> Shape:
    """Return what is known of the value of a template; `given` is the schema of `$.input`."""
    if not isinstance(template, dict):
        return _LITERALS.get(type(template))
    if _is_formula(template):
        return _looked_up(template, given)
    members = {name: likely_schema(value, given) or {} for name, value in template.items()}
    return {"type": "object", "properties": members}


def _is_formula(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and str(next(iter(value))).startswith("$")


def _looked_up(formula: Any, given: Shape) -> Shape:
    """Return the schema of what `{"$var": "$.input…"}` points to, where it is plain to see."""
    if not isinstance(formula, dict) or not isinstance(formula.get("$var"), str) or given is None:
        return likely_schema(formula) if isinstance(formula, list) else None
    steps = formula["$var"].removeprefix("$.").split(".")
    if steps[0] != "input" or any(mark in formula["$var"] for mark in "[]\\"):
        return None
    schema: Any = given
    for step in steps[1:]:
        if not isinstance(schema, dict) or _OPEN & schema.keys():
            return None
        schema = (schema.get("properties") or {}).get(step)
    return schema if isinstance(schema, dict) else None


def conflicts(given: Shape, wanted: Shape, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield what of a value that looks as `given` says cannot be as `wanted` says."""
    if given is None or wanted is None or _OPEN & (given.keys() | wanted.keys()):
        return
    found, asked = _types(given), _types(wanted)
    if found and asked and not any(_suits(one, asked) for one in found):
        yield path, f"is {' or '.join(sorted(found))}, not {' or '.join(sorted(asked))}"
        return
    known = given.get("properties")
    members = wanted.get("properties")
    if isinstance(known, dict):
        members = members if isinstance(members, dict) else {}
        is_closed = given.get("additionalProperties") in (None, False)
        for name in wanted.get("required") or ():
            has_default = isinstance(members.get(name), dict) and "default" in members[name]
            if name not in known and is_closed and not has_default:
                yield f"{path}/{name}", "is required, and not put out"
        for name in known.keys() & members.keys():
            if isinstance(known[name], dict) and isinstance(members[name], dict):
                yield from conflicts(known[name], members[name], f"{path}/{name}")
    inner, others = given.get("items"), wanted.get("items")
    if isinstance(inner, dict) and isinstance(others, dict):
        yield from conflicts(inner, others, f"{path}/*")


def _types(schema: Mapping[str, Any]) -> set[str]:
    named = schema.get("type")
    return {named} if isinstance(named, str) else set(named) if isinstance(named, list) else set()


def _suits(one: str, asked: set[str]) -> bool:
    return (
        one in asked
        or (one == "integer" and "number" in asked)
        or (one == "number" and "integer" in asked)
    )
