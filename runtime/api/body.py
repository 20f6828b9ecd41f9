"""Reads request bodies as JSON: strictly, within bounds, and with errors that say where."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request

from runtime.errors import BadRequestError

__all__ = ["json_body", "json_object"]

#: Levels of nesting in a body. What is stored wraps it in a few more, and orjson writes 254.
_MOST_LEVELS = 128


async def json_body(request: Request) -> Any:
    """Return the body as JSON; None for an empty one. BadRequestError says where it is broken."""
    raw = await request.body()
    if not raw.strip():
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(
            f"The request body is not valid JSON: {error.msg} at line {error.lineno},"
            f" column {error.colno}.",
            data={"line": error.lineno, "column": error.colno},
        ) from None
    # Few bodies have so many brackets at all, so few are looked through.
    if raw.count(b"[") + raw.count(b"{") > _MOST_LEVELS and _is_deep(body):
        raise BadRequestError(
            f"The request body nests deeper than {_MOST_LEVELS} levels.",
            data={"levels": _MOST_LEVELS},
        )
    return body


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; an empty one for an empty body."""
    body = await json_body(request)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise BadRequestError(
            f"The request body must be a JSON object, not {_named(body)}.", data={"path": "/"}
        )
    return body


def _is_deep(body: Any) -> bool:
    """Tell whether JSON nests too deep; level by level, so that depth exhausts no stack."""
    level = [body]
    for _ in range(_MOST_LEVELS + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _named(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return names.get(type(value), "a number")
