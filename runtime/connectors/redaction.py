"""Shows requests and answers to people without what they must not see.

Two nets: names that usually carry a secret, and the exact values known to be secret here, in the
spellings in which they travel (plain, URL-encoded, JSON-escaped).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import orjson

from runtime.connectors.location import encode_query

__all__ = ["REDACTED", "holds_secret", "is_secret_name", "scrub", "shown_headers", "shown_url"]

REDACTED = "[redacted]"

#: Shorter secrets are only recognised as whole values: `a` is not worth making a text unreadable.
_SHORTEST = 4
#: Names that tell a secret, compared in lower case without punctuation.
_SECRET_WORDS = re.compile(
    r"authorization|cookie|passw|passphrase|secret|credential|signature|jwt|session"
    r"|(?:api|auth|access|private|subscription)key|token$"
)
#: Positions in a list, and nobody's secret.
_HARMLESS = re.compile(r"(?:page|next|sync|continuation|pagination|change)token$")
#: Query parameters that are secret although the same word is harmless elsewhere.
_SECRET_PARAMETERS = frozenset({"key", "sig", "code"})
_PUNCTUATION = re.compile(r"[^a-z0-9]+")
#: Text that no encoding changes; most keys and tokens are such.
_SAME_EVERYWHERE = re.compile(r"[A-Za-z0-9_.~-]*")
_USER_INFO = re.compile(r"//[^/?#]*@")


def is_secret_name(name: str) -> bool:
    """Tell whether a header, parameter or field of this name usually holds a secret."""
    plain = _PUNCTUATION.sub("", name.lower())
    return bool(_SECRET_WORDS.search(plain)) and not _HARMLESS.search(plain)


def scrub(value: Any, secrets: frozenset[str]) -> Any:
    """Return a JSON value with every secret in it blotted out: known ones, and those by name."""
    return _scrub(value, secrets, _spellings(secrets))


def holds_secret(text: str, secrets: frozenset[str]) -> bool:
    """Tell whether one of the known secrets stands in the text."""
    return _scrub_text(text, secrets, _spellings(secrets)) != text


def shown_headers(headers: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Return headers as they may be shown."""
    return dict(scrub(dict(headers), secrets))


def shown_url(url: str, query: Mapping[str, Any] | None, secrets: frozenset[str]) -> str:
    """Return the URL with its query as they may be shown."""
    spellings = _spellings(secrets)
    path, _, asked = url.partition("?")
    shown = _USER_INFO.sub(f"//{REDACTED}@", _scrub_text(path, secrets, spellings))
    asked = "&".join(filter(None, (asked, encode_query(query) if query else "")))
    if not asked:
        return shown
    return f"{shown}?" + "&".join(
        _shown_pair(pair, secrets, spellings) for pair in asked.split("&")
    )


def _shown_pair(pair: str, secrets: frozenset[str], spellings: list[str]) -> str:
    name, equals, value = pair.partition("=")
    plain = unquote_plus(name)
    if is_secret_name(plain) or plain.lower() in _SECRET_PARAMETERS:
        return f"{name}={REDACTED}"
    if unquote_plus(value) in secrets:
        return f"{name}={REDACTED}"
    return _scrub_text(name, secrets, spellings) + equals + _scrub_text(value, secrets, spellings)


def _spellings(secrets: frozenset[str]) -> list[str]:
    """Return the ways in which the secrets may be written, longest first."""
    spellings: set[str] = set()
    for secret in secrets:
        if len(secret) < _SHORTEST:
            continue
        spellings.add(secret)
        if not _SAME_EVERYWHERE.fullmatch(secret):
            spellings.add(quote(secret, safe="", errors="replace"))
            spellings.add(quote_plus(secret, errors="replace"))
            spellings.add(orjson.dumps(secret.encode(errors="replace").decode()).decode()[1:-1])
    return sorted(spellings, key=len, reverse=True)


def _scrub(value: Any, secrets: frozenset[str], spellings: list[str]) -> Any:
    if isinstance(value, str):
        return _scrub_text(value, secrets, spellings)
    if isinstance(value, Mapping):
        return {
            _scrub(key, secrets, spellings): (
                REDACTED
                if isinstance(inner, str) and is_secret_name(str(key))
                else _scrub(inner, secrets, spellings)
            )
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_scrub(inner, secrets, spellings) for inner in value]
    return value


def _scrub_text(text: str, secrets: frozenset[str], spellings: list[str]) -> str:
    if text and text in secrets:
        return REDACTED
    for spelling in spellings:
        text = text.replace(spelling, REDACTED)
    return text
