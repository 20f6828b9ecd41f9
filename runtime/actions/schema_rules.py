"""What each word of a schema asks of a value, and how its refusal reads.

`jsonschema` walks schema and value; the words are ours. Its own messages repeat the value, which
may be secret or huge, and its own checks have no limit on their work.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import date, datetime, time
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import create

from runtime.actions.schema_words import Choices, Node
from runtime.formulas.undefined import kind_of

__all__ = ["STEPS", "SchemaValidator", "Steps", "TooMuchWorkError"]

#: Rules applied to one input, long operands counting more; about 1 us each.
_MAX_STEPS = 1_000_000
#: Characters of a text that can have a format.
_LONGEST_FORMATTED = 4_000
#: Names that a message lists.
_SHOWN = 20

Errors = Iterator[ValidationError]
Rule = Callable[[Any, Any, Any, Any], Any]


class TooMuchWorkError(Exception):
    """Checking the input would take too long."""


class Steps:
    """How much work is left for the check of one input."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        """Start with all of it."""
        self._left = _MAX_STEPS

    def spend(self, amount: int) -> None:
        """Take some; raises TooMuchWorkError."""
        self._left -= amount
        if self._left < 0:
            raise TooMuchWorkError


#: The steps of the check under way, which jsonschema's signatures have no room for.
STEPS: ContextVar[Steps] = ContextVar("steps")


def _counted(rule: Rule, *, per_item: bool = False) -> Rule:
    """Return the rule, charging for itself, its operand and, if asked, the value's items."""

    def counted(validator: Any, operand: Any, value: Any, schema: Any) -> Any:
        cost = 1 + (len(operand) if isinstance(operand, (list, dict)) else 0)
        if per_item and isinstance(value, (list, dict)):
            cost += len(value)
        STEPS.get().spend(cost)
        return rule(validator, operand, value, schema)

    return counted


def _type(validator: Validator, types: list[str], value: Any, _schema: Node) -> Errors:
    if not any(validator.is_type(value, each) for each in types):
        wanted = " or ".join(_TYPE_NAMES[each] for each in types)
        yield ValidationError(f"must be {wanted}, not {kind_of(value)}")


_TYPE_NAMES: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def _enum(_validator: Validator, choices: Choices, value: Any, _schema: Node) -> Errors:
    STEPS.get().spend(len(choices.values))
    if not any(_equal(value, choice) for choice in choices.values):
        yield ValidationError(f"must be one of {choices.shown}")


def _const(_validator: Validator, constant: Any, value: Any, _schema: Node) -> Errors:
    if not _equal(value, constant):
        yield ValidationError(f"must be {constant!r:.100}")


def _required(validator: Validator, names: list[str], value: Any, _schema: Node) -> Errors:
    if validator.is_type(value, "object"):
        for name in names:
            if name not in value:
                yield ValidationError("is required", path=[name])


def _additional(validator: Any, other: Any, value: Any, schema: Node) -> Errors:
    if not validator.is_type(value, "object"):
        return
    known = schema.get("properties", {})
    for name in value:
        if name in known:
            continue
        if other is False:
            yield ValidationError(f"is not a known field; known: {_list(known)}", path=[name])
        else:
            yield from validator.descend(value[name], other, path=name)


def _list(names: dict[str, Any]) -> str:
    shown = [f"{name:.100}" for name in islice(names, _SHOWN)]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "") or "none"


def _unique(validator: Validator, wanted: bool, value: Any, _schema: Node) -> Errors:
    if wanted and validator.is_type(value, "array"):
        seen: set[Any] = set()
        for at, item in enumerate(value):
            frozen = _freeze(item)
            if frozen in seen:
                yield ValidationError("must not be there twice", path=[at])
            seen.add(frozen)


def _format(_validator: Validator, name: str, value: Any, _schema: Node) -> Errors:
    fits = _FORMATS.get(name)
    if fits is None or not isinstance(value, str):
        return
    if len(value) > _LONGEST_FORMATTED or not _holds(fits, value):
        yield ValidationError(f"must have the format {name}")


def _holds(fits: Callable[[str], Any], text: str) -> bool:
    try:
        return bool(fits(text))
    except ValueError:
        return False


def _multiple(validator: Validator, step: float, value: Any, _schema: Node) -> Errors:
    if validator.is_type(value, "number"):
        try:
            fits = (_fraction(value) / _fraction(step)).denominator == 1
        except ValueError:  # infinite, or no number
            fits = False
        if not fits:
            yield ValidationError(f"must be a multiple of {step}")


def _fraction(number: float) -> Fraction:
    # by its digits, so that 0.3 is a multiple of 0.1
    return Fraction(number if isinstance(number, int) else repr(number))


def _any_of(validator: Any, schemas: list[Node], value: Any, _schema: Node) -> Errors:
    if not any(validator.evolve(schema=each).is_valid(value) for each in schemas):
        yield ValidationError(f"fits none of the {len(schemas)} allowed forms")


def _one_of(validator: Any, schemas: list[Node], value: Any, _schema: Node) -> Errors:
    fitting = sum(validator.evolve(schema=each).is_valid(value) for each in schemas)
    if fitting != 1:
        yield ValidationError(f"must fit exactly one of {len(schemas)} forms, but fits {fitting}")


def _not(validator: Any, schema: Node, value: Any, _schema: Node) -> Errors:
    if validator.evolve(schema=schema).is_valid(value):
        yield ValidationError("has a form that is excluded" if schema else "is not allowed")


def _reference(validator: Any, target: Node, value: Any, _schema: Node) -> Errors:
    yield from validator.descend(value, target)


def _limit(kind: str, holds: Callable[[Any, Any], bool], text: str) -> Rule:
    def rule(validator: Validator, limit: float, value: Any, _schema: Node) -> Errors:
        if validator.is_type(value, kind) and not holds(value, limit):
            yield ValidationError(text.format(limit))

    return rule


def _length(kind: str, unit: str, *, least: bool) -> Rule:
    if least:
        return _limit(kind, lambda value, n: len(value) >= n, f"must have at least {{}} {unit}")
    return _limit(kind, lambda value, n: len(value) <= n, f"must have at most {{}} {unit}")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return bool(_freeze(one) == _freeze(other))


def _freeze(value: Any) -> Any:
    """Return a hashable stand-in that is equal for equal JSON values; true is not 1."""
    STEPS.get().spend(1)
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, list):
        return (list, *map(_freeze, value))
    if isinstance(value, dict):
        return (dict, frozenset((key, _freeze(member)) for key, member in value.items()))
    if value is None or isinstance(value, (str, int, float)):
        return value
    return (object, id(value))  # no JSON, equal to nothing


#: What fromisoformat takes and RFC 3339 does not, such as 20260131, is kept out.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d\S*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d\S*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_BLANK = re.compile(r"\s")


def _is_uri(text: str) -> bool:
    return bool(urlsplit(text).scheme) and not _BLANK.search(text)


#: Formats that are checked; any other, such as `password`, is a note.
_FORMATS: Final[dict[str, Callable[[str], Any]]] = {
    "date-time": lambda text: _DATE_TIME.fullmatch(text) and datetime.fromisoformat(text.upper()),
    "date": lambda text: _DATE.fullmatch(text) and date.fromisoformat(text),
    "time": lambda text: _TIME.fullmatch(text) and time.fromisoformat(text.upper()) is not None,
    "email": _EMAIL.fullmatch,
    "uri": _is_uri,
    "uuid": lambda text: str(UUID(text)) == text.lower(),
    "ipv4": lambda text: IPv4Address(text) is not None,
    "ipv6": lambda text: IPv6Address(text) is not None,
}

_RULES: Final[dict[str, Rule]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": Draft202012Validator.VALIDATORS["properties"],
    "minProperties": _length("object", "fields", least=True),
    "maxProperties": _length("object", "fields", least=False),
    "prefixItems": Draft202012Validator.VALIDATORS["prefixItems"],
    "minItems": _length("array", "items", least=True),
    "maxItems": _length("array", "items", least=False),
    "uniqueItems": _unique,
    "minLength": _length("string", "characters", least=True),
    "maxLength": _length("string", "characters", least=False),
    "format": _format,
    "minimum": _limit("number", operator.ge, "must be at least {}"),
    "maximum": _limit("number", operator.le, "must be at most {}"),
    "exclusiveMinimum": _limit("number", operator.gt, "must be above {}"),
    "exclusiveMaximum": _limit("number", operator.lt, "must be below {}"),
    "multipleOf": _multiple,
    "allOf": Draft202012Validator.VALIDATORS["allOf"],
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "$ref": _reference,
}

#: The class of validators whose schemas are nodes as `read_schema` makes them.
SchemaValidator: Final[Any] = create(
    meta_schema={},
    validators={word: _counted(rule) for word, rule in _RULES.items()}
    | {
        "items": _counted(Draft202012Validator.VALIDATORS["items"], per_item=True),
        "additionalProperties": _counted(_additional, per_item=True),
    },
    type_checker=Draft202012Validator.TYPE_CHECKER,
)
