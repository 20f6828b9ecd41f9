"""Takes secrets out of what is put on record, and cuts what is too big for it.

Three nets: what a schema marks as secret (`sensitive.py`); the exact secrets of this run, in the
spellings in which they travel; and what looks like a secret whosever it is (`scrubbing.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from runtime.activity.scrubbing import REDACTED, Scrubber
from runtime.activity.sensitive import Place

__all__ = ["REDACTED", "cap", "redact"]

#: Levels of a value that are put on record.
_MAX_DEPTH = 100
_TOO_DEEP = "[nested too deep]"
#: What is looked into; all but dict become lists.
_CONTAINERS = (dict, list, tuple, set, frozenset)
#: Put between texts that are searched at once, so that nothing is found across two of them.
_BETWEEN = "\x00\n\x00"
#: Bytes of a value that is too big which are kept to be looked at, and of the frame around them.
_PREVIEW = 2_000
_FRAME = 80


def redact(value: Any, schema: Any, secrets: Sequence[str]) -> Any:
    """Return the value without secrets; the value that was passed stays as it is.

    `schema` may be None. Values that are no JSON become text, which might hold a secret too.
    """
    scrubber = Scrubber(secrets)
    marked = _may_mark(schema)
    if not marked and _is_clean(value, scrubber):
        return value
    place = Place.of(schema if marked else None)
    return _cleaned(value, place, scrubber, 0)


def cap(value: Any, max_bytes: int) -> Any:
    """Return the value, or `{"truncated": true, "bytes": n, "preview": "…"}` if it is too big.

    What comes back has at most `max_bytes` bytes as JSON, if these are 100 or more. `bytes` is the
    size of the value as JSON, null if it cannot be that.
    """
    text = _as_json(value)
    if text is None:
        return {"truncated": True, "bytes": None, "preview": ""}
    if len(text) <= max_bytes:
        return value
    # a quote in the preview takes two bytes once it is JSON again
    room = min(_PREVIEW, max(0, (max_bytes - _FRAME) // 2))
    preview = text[:room].decode(errors="ignore")
    return {"truncated": True, "bytes": len(text), "preview": preview}


def _as_json(value: Any) -> bytes | None:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError):  # numbers beyond 64 bits, lone surrogates
        pass
    try:
        return json.dumps(value, default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return None


def _may_mark(schema: Any) -> bool:
    """Return whether it is worth to read a schema; most mark nothing."""
    if not schema:
        return False
    text = _as_json(schema)
    return text is None or any(word in text for word in (b"isSensitive", b"writeOnly", b"password"))


def _is_clean(value: Any, scrubber: Scrubber) -> bool:
    """Return whether a value is JSON without anything to take out; one search for all its texts."""
    texts: list[str] = []
    level = [value]
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                texts.append(one)
            elif isinstance(one, dict):
                if not all(isinstance(key, str) for key in one):
                    return False
                texts.extend(one)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif one is not None and not isinstance(one, (int, float)):
                return False
        if not below:
            return not scrubber.finds(_BETWEEN.join(texts))
        level = below
    return False


def _cleaned(value: Any, place: Place, scrubber: Scrubber, depth: int) -> Any:
    if place.is_sensitive:
        return REDACTED
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, _CONTAINERS):
        return scrubber.scrub(_text(value))
    if depth >= _MAX_DEPTH:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {
            scrubber.scrub(name): _cleaned(member, place.member(name), scrubber, depth + 1)
            for name, member in ((_text(key), member) for key, member in value.items())
        }
    return [_cleaned(item, place.item(), scrubber, depth + 1) for item in value]


def _text(value: Any) -> str:
    """Return what stands for a value that is no JSON, such as a date."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode(errors="replace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a stranger's __str__ may raise anything
        return f"[unreadable {type(value).__name__}]"
