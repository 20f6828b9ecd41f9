"""JSON as PostgreSQL takes it: no NUL characters, no lone surrogates, no NaN."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["dumps", "storable"]


def dumps(value: Any) -> str:
    """Return JSON text that a jsonb column accepts, whatever a run put into the value.

    What JSON does not know (a date, a UUID, a Decimal) becomes text or a number.
    """
    try:
        text = orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        text = orjson.dumps(storable(value))
    if b"\\u0000" in text:
        text = orjson.dumps(storable(value))
    return text.decode()


def storable(value: Any) -> Any:
    """Return the value with every string made storable and everything unknown made text."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(str(key)): storable(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(member) for member in value]
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    return storable(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
