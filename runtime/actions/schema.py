"""Checks the input of an action against its schema, and fills in defaults.

Properties that the schema does not name are let through, unless it forbids them. The words that
a schema may use are in `schema_words.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import ValidationError
from referencing import Registry

from runtime.actions.schema_rules import STEPS, SchemaValidator, Steps, TooMuchWorkError
from runtime.actions.schema_words import MAX_DEPTH, Node, Read, read_schema
from runtime.activity.sensitive import sensitive_paths
from runtime.errors import ConfigurationError, InputInvalidError

__all__ = ["check_input", "check_schema", "sensitive_paths"]

#: Bytes of a schema as JSON.
_LARGEST = 256_000
#: Errors that are told.
_MAX_ERRORS = 20
#: Characters of a name that a path shows.
_SHOWN = 200


def check_schema(schema: Any) -> None:
    """Raise ConfigurationError with data {path, found} if inputs cannot be checked by a schema."""
    _compiled(schema)


def check_input(schema: Any, value: Any) -> Any:
    """Return the input with defaults filled in; the value that was passed stays as it is.

    Raises InputInvalidError with data {errors: [{path, message}]}, twenty at most, which never
    repeat a value of the input; and ConfigurationError for a schema that is not in order.
    """
    read, validator = _compiled(schema)
    _check_depth(value)
    steps = Steps()
    token = STEPS.set(steps)
    try:
        if read.has_defaults:
            value = _filled(value, [read.root], steps)
        errors = list(islice(validator.iter_errors(value), _MAX_ERRORS))
    except (TooMuchWorkError, RecursionError):
        raise _invalid([("", "is too large to be checked; send less at once")]) from None
    finally:
        STEPS.reset(token)
    if errors:
        raise _invalid([(_pointer(error), error.message) for error in errors])
    return value


def _compiled(schema: Any) -> tuple[Read, Any]:
    try:
        # 1 us for a usual schema, and the only key that a change in place cannot make wrong
        text = orjson.dumps(schema)
    except TypeError:  # not JSON, numbers beyond 64 bits, or too deep; reading tells
        return _compile(schema)
    if len(text) > _LARGEST:
        raise ConfigurationError(
            f"A schema has at most {_LARGEST:,} bytes; shorten it, or split the action.",
            data={"path": "", "found": f"{len(text):,} bytes"},
        )
    return _compile_text(text)


@lru_cache(maxsize=256)
def _compile_text(text: bytes) -> tuple[Read, Any]:
    return _compile(orjson.loads(text))


def _compile(document: Any) -> tuple[Read, Any]:
    read = read_schema(document)
    return read, SchemaValidator(read.root, registry=Registry())


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for container in level
            if isinstance(container, (dict, list))
            for member in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise _invalid([("", f"has more than {MAX_DEPTH} levels; make it flatter")])


def _filled(value: Any, nodes: list[Node], steps: Steps) -> Any:
    """Return the value with the defaults of these schemas, which all apply to it."""
    if isinstance(value, list):
        items = [node["items"] for node in _applying(nodes, steps) if "items" in node]
        steps.spend(len(value))
        return [_filled(item, items, steps) for item in value] if items else value
    if not isinstance(value, dict):
        return value
    fields: dict[str, list[Node]] = {}
    for node in _applying(nodes, steps):
        for name, schema in node.get("properties", {}).items():
            fields.setdefault(name, []).append(schema)
    steps.spend(len(fields))
    filled = dict(value)
    for name, schemas in fields.items():
        if name in value:
            filled[name] = _filled(value[name], schemas, steps)
        else:
            for default in _defaults(schemas, steps):
                filled[name] = default
    return filled


def _defaults(nodes: list[Node], steps: Steps) -> Iterator[Any]:
    """Give a copy of the first default, if there is one."""
    for node in _applying(nodes, steps):
        if "default" in node:
            default = node["default"]
            steps.spend(_size(default))
            yield copy.deepcopy(default)
            return


def _size(value: Any) -> int:
    """Return the count of values in a value."""
    count = 0
    rest = [value]
    while rest:
        one = rest.pop()
        count += 1
        if isinstance(one, (dict, list)):
            rest.extend(one.values() if isinstance(one, dict) else one)
    return count


def _applying(nodes: list[Node], steps: Steps) -> list[Node]:
    """Return these schemas and those that they hand the value to whatever it is."""
    found = list(nodes)
    for node in found:
        steps.spend(1)
        if "$ref" in node:
            found.append(node["$ref"])
        found.extend(node.get("allOf", ()))
    return found


def _pointer(error: ValidationError) -> str:
    steps = (str(step)[:_SHOWN] for step in error.absolute_path)
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _invalid(errors: list[tuple[str, str]]) -> InputInvalidError:
    path, message = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InputInvalidError(
        f"The input does not fit: {path or 'it'} {message}{more}.",
        data={"errors": [{"path": path, "message": message} for path, message in errors]},
    )
