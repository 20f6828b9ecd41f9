"""`{name}` in a connector's URLs and headers: what may be written, and what it may become.

A value that a customer enters must not lead a request elsewhere: in a host it is one name of
letters, digits, hyphens and dots, in a path it is one segment. Only where the whole base is one
placeholder (`{baseUri}/v1`, for apps that customers host themselves) is the value a URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from runtime.errors import ConfigurationError, InputInvalidError

__all__ = ["check_base", "fill", "fill_base", "fill_path", "placeholders"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,99})\}")
_BASE = re.compile(r"(?:https?://[^/?#\\@\s]+|\{\w+\})(?:/[^?#\\\s]*)?", re.ASCII)
_HOST_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_WHOLE = re.compile(r"https?://[^/?#\\@\s{}]+(?:/[^?#\\\s{}]*)?", re.ASCII)


def placeholders(text: str) -> list[str]:
    """Return the names that a text asks for."""
    return _PLACEHOLDER.findall(text)


def check_base(text: str) -> str:
    """Return a base URL as written; ValueError if it cannot become one."""
    if not _BASE.fullmatch(text):
        raise ValueError("must be http(s)://host/path or {name}/path, without query or user name")
    if "{" in _PLACEHOLDER.sub("", text) or "}" in _PLACEHOLDER.sub("", text):
        raise ValueError("has a brace that is not part of a {name}")
    return text


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Return a text with its placeholders filled in. Raises ConfigurationError for a missing one.

    The text is a header or a query value; who builds the request encodes it.
    """
    return _filled(text, values, lambda _, value: value)


def fill_base(base: str, values: Mapping[str, Any]) -> str:
    """Return a base URL with its placeholders filled in, without a / at its end.

    Raises ConfigurationError for a missing value and InputInvalidError for one that cannot stand
    where it would.
    """
    if base.startswith("{"):
        whole, brace, path = base.partition("}")
        url = _filled(whole + brace, values, lambda name, value: _whole(name, value.rstrip("/")))
        return (url + _filled(path, values, _segment)).rstrip("/")
    scheme, _, rest = base.partition("://")
    host, slash, path = rest.partition("/")
    host = _filled(host, values, _host_part)
    return f"{scheme}://{host}{slash}{_filled(path, values, _segment)}".rstrip("/")


def fill_path(path: str, values: Mapping[str, Any]) -> str:
    """Return a path with its placeholders as URL-encoded segments.

    Raises InputInvalidError for a value that is missing or cannot be a segment.
    """
    for name in placeholders(path):
        if values.get(name) in (None, ""):
            raise InputInvalidError(f"The path parameter {name!r} is missing.")
    return _filled(path, values, _segment)


def _filled(text: str, values: Mapping[str, Any], write: Callable[[str, str], str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        value = values.get(name)
        if value is None:
            raise ConfigurationError(f"The connection has no value for {{{name}}}.")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise InputInvalidError(f"The value of {name!r} must be a text or a number.")
        return write(name, str(value))

    return _PLACEHOLDER.sub(value_of, text)


def _segment(name: str, value: str) -> str:
    if value in (".", ".."):
        raise InputInvalidError(f"The value of {name!r} cannot stand in a path.")
    return quote(value, safe="", errors="replace")


def _host_part(name: str, value: str) -> str:
    if not _HOST_PART.fullmatch(value):
        raise InputInvalidError(f"The value of {name!r} cannot be part of a host name.")
    return value


def _whole(name: str, value: str) -> str:
    if not _WHOLE.fullmatch(value):
        raise InputInvalidError(f"The value of {name!r} is not an http(s) URL without query.")
    return value
