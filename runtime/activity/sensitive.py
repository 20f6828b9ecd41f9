"""Finds what a schema marks as secret: `isSensitive: true`, `writeOnly: true`, format `password`.

Schemas come in here unchecked, and the result decides what people may read. So wherever a schema
leaves a doubt (several forms, words that we do not check), everything that it might mean counts,
and a schema too tangled to follow makes everything a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

__all__ = ["EACH", "Place", "sensitive_paths"]

#: In a path: every item of a list, or every field that the schema does not name.
EACH: Final = "*"

#: Words whose schemas apply to the value itself.
_SAME_VALUE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
#: Words whose schemas apply to fields that stand in no `properties` beside them.
_OTHER_FIELDS: Final = ("additionalProperties", "unevaluatedProperties")
#: Words whose schemas apply to items of a list; what is true of one item counts for all.
_ITEMS: Final = ("items", "prefixItems", "contains", "unevaluatedItems", "additionalItems")
#: Of the words above, those that take an object of named schemas.
_NAMED: Final = frozenset({"dependentSchemas", "patternProperties"})
#: Schemas that are looked at, each as often as it comes up at a new place.
_MAX_SCHEMAS = 200_000
#: Places that are listed.
_MAX_PLACES = 10_000

Schema = dict[str, Any]
#: Keys of a place's memory, beside the names of fields.
_OTHER, _ITEM = object(), object()


class Place:
    """A place in a value, and whether what stands there is secret by the schemas that apply."""

    __slots__ = ("_below", "_reader", "_schemas", "is_known", "is_sensitive", "names")

    def __init__(self, reader: _Reader, schemas: Iterable[Schema]) -> None:
        """Take all schemas that apply here; `Place.of` is for others."""
        self._reader = reader
        self._schemas = tuple(schemas)
        self._below: dict[object, Place] = {}
        self.is_sensitive = reader.is_lost or any(map(_is_marked, self._schemas))
        #: Whether any schema applies; if not, none applies below either.
        self.is_known = reader.is_lost or bool(self._schemas)
        #: The fields that the schemas name.
        self.names = list(dict.fromkeys(name for each in self._schemas for name in _named(each)))

    @staticmethod
    def of(schema: Any) -> Place:
        """Return the place of the whole value. Any schema will do; None marks nothing."""
        return _Reader(schema).place([schema])

    def member(self, name: str) -> Place:
        """Return the place of a field of an object."""
        return self._at(name if name in self.names else _OTHER)

    def other(self) -> Place:
        """Return the place of every field that the schemas do not name."""
        return self._at(_OTHER)

    def item(self) -> Place:
        """Return the place of every item of a list."""
        return self._at(_ITEM)

    def _at(self, key: object) -> Place:
        if not self.is_known:
            return self
        place = self._below.get(key)
        if place is None:
            place = self._below[key] = self._reader.place(self._schemas_at(key))
        return place

    def _schemas_at(self, key: object) -> Iterable[Any]:
        for schema in self._schemas:
            if key is _ITEM:
                yield from _operands(schema, _ITEMS)
                continue
            yield from _operands(schema, ("patternProperties",))
            fields = _named(schema)
            if key in fields:
                yield fields[key]
            else:
                yield from _operands(schema, _OTHER_FIELDS)


class _Reader:
    """Finds the schemas of places in one document, and keeps those that it found."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_SCHEMAS
        self._places: dict[tuple[int, ...], Place] = {}

    @property
    def is_lost(self) -> bool:
        """Return whether the schema turned out too tangled to follow."""
        return self._left < 0

    def place(self, schemas: Iterable[Any]) -> Place:
        """Return the place to which these schemas apply, and all others by way of them."""
        found: dict[int, Schema] = {}
        rest = list(schemas)
        while rest and not self.is_lost:
            self._left -= 1
            schema = rest.pop()
            if not isinstance(schema, dict) or id(schema) in found:
                continue
            found[id(schema)] = schema
            rest.extend(_operands(schema, _SAME_VALUE))
            rest.extend(self._target(schema.get(word)) for word in ("$ref", "$dynamicRef"))
        key = tuple(found)
        if key not in self._places or self.is_lost:
            self._places[key] = Place(self, found.values())
        return self._places[key]

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        value = self._root
        for token in unquote(reference).split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list):
                value = dict(enumerate(value)).get(int(name) if name.isdecimal() else -1)
        return value


def _is_marked(schema: Schema) -> bool:
    return (
        schema.get("isSensitive") is True
        or schema.get("writeOnly") is True
        or schema.get("format") == "password"
    )


def _named(schema: Schema) -> dict[Any, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _operands(schema: Schema, words: Iterable[str]) -> Iterable[Any]:
    """Give the schemas that stand under some words of a schema."""
    for word in words:
        operand = schema.get(word)
        if isinstance(operand, list):
            yield from operand
        elif isinstance(operand, dict):
            yield from operand.values() if word in _NAMED else (operand,)


def sensitive_paths(schema: Any) -> list[str]:
    """Return JSON pointers to what a schema marks as secret; `*` stands for each item or field.

    A schema that contains itself is followed once round.
    """
    paths: dict[str, None] = {}
    ways: list[tuple[str, Place, tuple[Place, ...]]] = [("", Place.of(schema), ())]
    for path, place, above in ways:
        if place.is_sensitive:
            paths[path] = None
        elif place.is_known and place not in above and len(ways) < _MAX_PLACES:
            around = (*above, place)
            ways.extend(
                (f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}", below, around)
                for name, below in (
                    *((name, place.member(name)) for name in place.names),
                    (EACH, place.other()),
                    (EACH, place.item()),
                )
            )
    return list(paths)
