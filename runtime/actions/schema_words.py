"""Reads a schema: which words of JSON Schema we know, and whether each is used rightly.

A DataSchema is a part of JSON Schema (draft 2020-12) and some words of its own. A word that
nobody defines is a note and ignored; a word of the standard that is not checked here is refused,
since ignoring it would let in what its author meant to keep out. `pattern` is among these: a
regular expression from a stranger can hold a worker for hours, and a word that is checked only
sometimes is worse than none. Use `enum`, `format`, `minLength` and `maxLength`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import unquote

from runtime.errors import ConfigurationError
from runtime.formulas.undefined import kind_of

__all__ = ["MAX_DEPTH", "TYPES", "Choices", "Node", "Read", "in_place", "read_schema"]

#: A schema without notes. `$ref` holds the schema itself, so nodes may form circles.
Node = dict[str, Any]

#: Levels of schemas in schemas, and of values in the input.
MAX_DEPTH = 64
#: Schemas in one schema.
_MAX_NODES = 10_000
#: Steps by $ref, anyOf, allOf, oneOf and not that lead from a schema to others for the same value.
_MAX_CHAIN = 32
#: Choices that a message lists.
_SHOWN = 20

TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

#: Words of the standard that are not offered.
_REFUSED: Final = frozenset(
    {
        *("$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef"),
        *("additionalItems", "contains", "dependencies", "dependentRequired", "dependentSchemas"),
        *("else", "if", "maxContains", "minContains", "pattern", "patternProperties"),
        *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)

#: What to do without some of them.
_INSTEAD: Final = {
    "pattern": "use enum, format, minLength or maxLength",
    "patternProperties": "use properties and additionalProperties",
    "if": "use oneOf",
    "contains": "use items",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """The operand of `enum`, and how a message shows it."""

    values: list[Any]
    shown: str


@dataclass(frozen=True, slots=True)
class Read:
    """A schema that was found to be in order."""

    root: Node
    has_defaults: bool


def read_schema(document: Any) -> Read:
    """Return the schema; raises ConfigurationError with data {path, found}."""
    if not isinstance(document, dict):
        _refuse("", "A schema is an object.", kind_of(document))
    reader = _Reader()
    root = reader.read(document, "", 1)
    reader.link()
    return Read(root, reader.has_defaults)


def in_place(node: Node) -> Iterator[Node]:
    """Give the schemas that apply to the same value as this one."""
    if "$ref" in node:
        yield node["$ref"]
    for word in ("allOf", "anyOf", "oneOf"):
        yield from node.get(word, ())
    if "not" in node:
        yield node["not"]


def _refuse(path: str, wants: str, found: str) -> NoReturn:
    raise ConfigurationError(
        f"{wants} Found {found} at {path or 'the top'} of the schema.",
        data={"path": path, "found": found},
    )


class _Reader:
    """Reads one schema."""

    def __init__(self) -> None:
        self.has_defaults = False
        self._nodes: dict[str, Node] = {}
        #: Nodes with a reference, the path of it, and the pointer to which it leads.
        self._references: list[tuple[Node, str, str]] = []

    def read(self, schema: Any, path: str, depth: int) -> Node:
        if schema is True:
            return {}
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, dict):
            _refuse(path, "A schema is an object, true or false.", kind_of(schema))
        if depth > MAX_DEPTH:
            _refuse(path, f"A schema has at most {MAX_DEPTH} levels.", "one more")
        if len(self._nodes) >= _MAX_NODES:
            _refuse(path, f"A schema has at most {_MAX_NODES:,} parts.", "one more")
        node: Node = {}
        self._nodes[path] = node
        for word, operand in schema.items():
            if word in _REFUSED:
                _refuse(
                    path, f"`{word}` is not offered; {_INSTEAD.get(word, 'leave it out')}.", word
                )
            form = _FORMS.get(word)
            if form is not None:
                form(self, node, word, operand, f"{path}/{word}", depth)
        return node

    def one(self, node: Node, word: str, operand: Any, path: str, depth: int) -> None:
        node[word] = self.read(operand, path, depth + 1)

    def several(self, node: Node, word: str, operand: Any, path: str, depth: int) -> None:
        if not isinstance(operand, list) or not operand:
            _refuse(path, f"`{word}` takes a list of schemas.", _or_empty(operand))
        node[word] = [
            self.read(schema, f"{path}/{at}", depth + 1) for at, schema in enumerate(operand)
        ]

    def named(self, node: Node, word: str, operand: Any, path: str, depth: int) -> None:
        if not isinstance(operand, dict):
            _refuse(path, f"`{word}` takes an object of names and schemas.", kind_of(operand))
        node[word] = {
            name: self.read(schema, path + _step(name), depth + 1)
            for name, schema in operand.items()
        }

    def additional(self, node: Node, word: str, operand: Any, path: str, depth: int) -> None:
        if operand is False:
            node[word] = False
        elif operand is not True:
            self.one(node, word, operand, path, depth)

    def reference(self, node: Node, word: str, operand: Any, path: str, _depth: int) -> None:
        if not isinstance(operand, str) or not operand.startswith("#"):
            _refuse(
                path, 'A $ref leads within the schema, such as "#/$defs/deal".', f"{operand!r:.200}"
            )
        node[word] = None
        self._references.append((node, path, unquote(operand[1:])))

    def default(self, node: Node, word: str, operand: Any, _path: str, _depth: int) -> None:
        self.has_defaults = True
        node[word] = operand

    def link(self) -> None:
        """Put the schemas in the place of their references, and refuse endless circles."""
        for node, path, pointer in self._references:
            target = self._nodes.get(pointer)
            if target is None:
                _refuse(path, "A $ref leads to a schema.", "nothing there")
            node["$ref"] = target
        heights: dict[int, int] = {}
        for path, node in self._nodes.items():
            self._height(node, path, 0, heights)

    def _height(self, node: Node, path: str, depth: int, heights: dict[int, int]) -> int:
        height = heights.get(id(node), 0)
        if depth + height > _MAX_CHAIN:
            _refuse(
                path,
                f"At most {_MAX_CHAIN} schemas may apply to one value by way of each other.",
                "a circle, or more",
            )
        if id(node) not in heights:
            below = (self._height(other, path, depth + 1, heights) for other in in_place(node))
            heights[id(node)] = 1 + max(below, default=0)
        return heights[id(node)]


def _types(_reader: _Reader, node: Node, word: str, operand: Any, path: str, _depth: int) -> None:
    types = operand if isinstance(operand, list) else [operand]
    if not types or not all(isinstance(each, str) and each in TYPES for each in types):
        _refuse(
            path, f"`type` is one or several of {', '.join(sorted(TYPES))}.", f"{operand!r:.200}"
        )
    node[word] = types


def _names(_reader: _Reader, node: Node, word: str, operand: Any, path: str, _depth: int) -> None:
    if not isinstance(operand, list) or not all(isinstance(name, str) for name in operand):
        _refuse(path, f"`{word}` takes a list of names.", kind_of(operand))
    node[word] = list(dict.fromkeys(operand))


def _values(_reader: _Reader, node: Node, word: str, operand: Any, path: str, _depth: int) -> None:
    if not isinstance(operand, list):
        _refuse(path, f"`{word}` takes a list of values.", kind_of(operand))
    shown = ", ".join(f"{value!r:.100}" for value in operand[:_SHOWN])
    more = ", …" if len(operand) > _SHOWN else ""
    node[word] = Choices(operand, f"{shown or 'nothing'}{more}")


def _anything(
    _reader: _Reader, node: Node, word: str, operand: Any, _path: str, _depth: int
) -> None:
    node[word] = operand


def _of(wants: str, fits: Callable[[Any], bool]) -> _Form:
    def form(_reader: _Reader, node: Node, word: str, operand: Any, path: str, _depth: int) -> None:
        if not fits(operand):
            _refuse(path, f"`{word}` takes {wants}.", kind_of(operand))
        node[word] = operand

    return form


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not (isinstance(value, float) and not math.isfinite(value))


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _or_empty(value: Any) -> str:
    return "an empty list" if value == [] else kind_of(value)


def _step(name: Any) -> str:
    return "/" + str(name).replace("~", "~0").replace("/", "~1")


#: Reads the operand of a word into a node, or refuses it.
_Form = Callable[[_Reader, Node, str, Any, str, int], None]

_count = _of("a whole number from 0", _is_count)
_number = _of("a number", _is_number)

_FORMS: Final[dict[str, _Form]] = {
    "type": _types,
    "enum": _values,
    "const": _anything,
    "properties": _Reader.named,
    "required": _names,
    "additionalProperties": _Reader.additional,
    "minProperties": _count,
    "maxProperties": _count,
    "items": _Reader.one,
    "prefixItems": _Reader.several,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": _of("true or false", lambda value: isinstance(value, bool)),
    "minLength": _count,
    "maxLength": _count,
    "format": _of("a name", lambda value: isinstance(value, str)),
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": _of("a number above 0", lambda value: _is_number(value) and value > 0),
    "allOf": _Reader.several,
    "anyOf": _Reader.several,
    "oneOf": _Reader.several,
    "not": _Reader.one,
    "$ref": _Reader.reference,
    "$defs": _Reader.named,
    "definitions": _Reader.named,
    "default": _Reader.default,
}
