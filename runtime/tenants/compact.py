"""Reads the text of an access token strictly, before anything in it is believed.

The rules are those of RFC 7515 and RFC 8725 with every freedom taken away: what two readers could
understand differently is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

from runtime.errors import NotAuthenticatedError

__all__ = ["CompactToken", "parse"]

#: Longest token in characters; 16 KB of `fields` need 22,000.
LONGEST: Final = 32_768
#: How deep objects and arrays may be nested in a token.
DEEPEST: Final = 8

_SEGMENTS = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_KEY_ID = re.compile(r"[\w.=-]{1,128}", re.ASCII)
#: `typ` of a plain token, and of one from an OAuth 2 server (RFC 9068).
_TYPES: Final = {"jwt", "at+jwt"}
#: Header members that name a key, ask for an extension or wrap another token.
_REFUSED_HEADERS: Final = ("crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty")


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A well-formed token, not yet verified."""

    text: str
    algorithm: str
    key_id: str | None
    payload: dict[str, Any]


def parse(text: str) -> CompactToken:
    """Return the parts of a token; NotAuthenticatedError says in what way it is malformed."""
    if len(text) > LONGEST:
        raise _malformed(f"it is longer than {LONGEST} characters")
    match = _SEGMENTS.fullmatch(text)
    if match is None:
        raise _malformed("a JWT has three parts in base64url, separated by dots")
    header = _read_object(_decode(match[1]), "header")
    payload = _read_object(_decode(match[2]), "payload")
    _decode(match[3])
    return CompactToken(text, _algorithm(header), _key_id(header), payload)


def _algorithm(header: dict[str, Any]) -> str:
    for name in _REFUSED_HEADERS:
        if name in header:
            raise _malformed(f"the header {name!r} is not accepted")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _malformed("its type is not JWT")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise _malformed("the header names no algorithm")
    return algorithm


def _key_id(header: dict[str, Any]) -> str | None:
    if "kid" not in header:
        return None
    key_id = header["kid"]
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise _malformed("the header 'kid' is not a key's name")
    return key_id


def _decode(segment: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise _malformed("a part is not base64url") from None
    # The last character may carry bits that decoding drops: the same bytes, another text.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != segment:
        raise _malformed("a part is not base64url")
    return data


def _read_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_finite,
            parse_constant=_finite,
        )
        if b"\\u" in data:
            # Only an escape can hide half a character, which no database would store.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise _malformed(f"its {what} is not strict JSON") from None
    if not isinstance(value, dict):
        raise _malformed(f"its {what} is not a JSON object")
    if _is_deeper(value, DEEPEST):
        raise _malformed(f"its {what} is nested deeper than {DEEPEST} levels")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("JSON has no such number")
    return number


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    members = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(member, levels - 1) for member in members)


def _malformed(why: str) -> NotAuthenticatedError:
    return NotAuthenticatedError(f"The access token is malformed: {why}.")
