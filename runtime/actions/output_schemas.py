"""What an action gives back, as a schema: its author's, or else what follows from what it does.

The contract's order: `customOutputSchema`; what `outputMapping` makes of the type's output; the
output of the type. What is not known is left open, and never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runtime.actions.data_records_schema import default_output_schema
from runtime.config.action_specs import RunJavascriptAction, YourAppRequestAction
from runtime.config.kinds import ApiRequestAction, HttpRequestAction
from runtime.config.link_actions import DataLinkAction, DeleteDataLinkAction
from runtime.connectors.definition import ConnectorDefinition
from runtime.formulas.locator import LocatorError, parse_locator
from runtime.formulas.registry import formula_name

__all__ = ["default_of", "mapped_schema", "output_schema_of"]

Schema = dict[str, Any]

_TEXT: Final = {"type": "string"}
_TRUTH: Final = {"type": "boolean"}
#: What formulas give whatever they are given.
_GIVEN: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(
        (
            *("$tpl", "$concat", "$firstName", "$lastName", "$domainFromEmail", "$extractDate"),
            *("$extractTime", "$record", "$findAppRecordId", "$findExternalRecordId", "$lookup"),
        ),
        _TEXT,
    ),
    **dict.fromkeys(("$eval", "$and", "$or"), _TRUTH),
    "$dataSchemaRef": {"type": "object"},
}
_LINK: Final = {
    "type": "object",
    "properties": dict.fromkeys(
        ("id", "dataLinkTableInstanceId", "appRecordId", "externalRecordId", "direction"), _TEXT
    ),
}
_DEEPEST = 64


def default_of(action: Any, definition: ConnectorDefinition | None) -> Schema | None:
    """Return the schema of what an action's type gives; None if it is not known."""
    match action:
        case ApiRequestAction():
            return _answer(action.config.response_schema)
        case HttpRequestAction() | YourAppRequestAction():
            return _answer(None)
        case RunJavascriptAction():
            known: Schema | None = action.config.output_schema
            return known
        case DeleteDataLinkAction():
            return {"type": "object", "properties": {"deleted": _TRUTH}}
        case DataLinkAction():
            return _LINK
        case _:
            return None if definition is None else default_output_schema(action, definition)


def output_schema_of(action: Any, definition: ConnectorDefinition | None) -> Schema | None:
    """Return the schema of what an action gives back; None if it is not known."""
    custom: Schema | None = action.custom_output_schema
    if custom is not None:
        return custom
    default = default_of(action, definition)
    if action.output_mapping is None:
        return default
    seen = {"input": action.input_schema or {}, "output": default or {}}
    return mapped_schema(action.output_mapping, {"type": "object", "properties": seen}) or None


def mapped_schema(template: Any, variables: Schema, depth: int = 0) -> Schema:
    """Return the schema of what a template gives over variables of a schema; `{}` is anything."""
    if depth > _DEEPEST:
        return {}
    name = formula_name(template)
    if name is not None:
        return _of_formula(name, template[name], variables, depth)
    if isinstance(template, dict):
        members = {
            key: mapped_schema(member, variables, depth + 1) for key, member in template.items()
        }
        return {"type": "object", "properties": members}
    if isinstance(template, list):
        items = [mapped_schema(item, variables, depth + 1) for item in template]
        same = items and all(item == items[0] for item in items)
        return {"type": "array", **({"items": items[0]} if same else {})}
    return _of_value(template)


def _of_formula(name: str, argument: Any, variables: Schema, depth: int) -> Schema:
    if name in _GIVEN:
        return _GIVEN[name]
    if name == "$var":
        return _at(argument, variables)
    if name == "$plain":
        return _of_value(argument)
    if name == "$iterate" and isinstance(argument, dict):
        source = mapped_schema(argument.get("source"), variables, depth + 1)
        inner = {
            "item": _items(source),
            "index": {"type": "integer"},
            "parent": variables,
        }
        item = argument.get("item")
        around = {"type": "object", "properties": inner}
        return {"type": "array", "items": mapped_schema(item, around, depth + 1)}
    return {}


def _at(locator: Any, variables: Schema) -> Schema:
    """Return the schema of what stands at a place of the variables."""
    try:
        steps = parse_locator(locator) if isinstance(locator, str) else None
    except LocatorError:
        steps = None
    if steps is None:
        return {}
    place: Any = variables
    for step in steps:
        if isinstance(step, int):
            place = _items(place)
        else:
            properties = place.get("properties")
            place = properties.get(step) if isinstance(properties, Mapping) else None
        if not isinstance(place, Mapping):
            return {}
    return dict(place)


def _items(schema: Any) -> Schema:
    items = schema.get("items") if isinstance(schema, Mapping) else None
    return dict(items) if isinstance(items, Mapping) else {}


def _of_value(value: Any) -> Schema:
    if isinstance(value, bool):
        return _TRUTH
    kinds = {str: "string", int: "integer", float: "number", dict: "object", list: "array"}
    kind = kinds.get(type(value))
    return {"type": kind} if kind else {}


def _answer(data: Schema | None) -> Schema:
    return {
        "type": "object",
        "properties": {"status": {"type": "integer"}, "data": data or {}},
        "required": ["status"],
    }
