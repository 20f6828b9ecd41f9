"""What goes out to an outside app and what comes back, as values that never show a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import parse_qsl

import orjson

from runtime.connectors.body import parse_body
from runtime.connectors.location import encode_query
from runtime.connectors.redaction import scrub, shown_headers, shown_url
from runtime.errors import ConfigurationError, InputInvalidError

__all__ = ["METHODS", "OutboundRequest", "OutboundResponse", "brief", "describe"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_UNSAFE_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Headers that say where a request ends or where it goes; only the client may write those.
_FRAMING = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class OutboundRequest:
    """A request to an outside app.

    `query` is added to what the URL already asks: lists repeat their name. `secrets` are the values
    in this request that nobody may see; wherever the request is shown, they are blotted out.
    Raises ConfigurationError for a method or a header name that cannot be sent, InputInvalidError
    for a header value that would break out of its line.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] | None = None
    body: bytes | None = None
    secrets: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what must not get onto the wire."""
        if self.method not in METHODS:
            raise ConfigurationError(f"{self.method[:20]!r} is not a method that can be sent.")
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name):
                raise ConfigurationError(f"{name[:100]!r} is not a header name.")
            if name.lower() in _FRAMING:
                raise ConfigurationError(f"The header {name} is written by the client itself.")
            if _UNSAFE_VALUE.search(value):
                raise InputInvalidError(f"The value of the header {name} has a control character.")

    def __repr__(self) -> str:
        """Show the method and the URL without its secrets."""
        return f"OutboundRequest({self.method} {shown_url(self.url, self.query, self.secrets)})"

    def with_json(self, value: Any) -> Self:
        """Return the request with the value as its JSON body."""
        try:
            body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
        except TypeError as error:
            raise InputInvalidError(f"The body cannot be written as JSON: {error}.") from None
        return self._with_body(body, "application/json")

    def with_form(self, values: Mapping[str, Any]) -> Self:
        """Return the request with the values as its URL-encoded form body."""
        return self._with_body(encode_query(values).encode(), "application/x-www-form-urlencoded")

    def header(self, name: str) -> str | None:
        """Return a header's value, whatever the case of its name."""
        name = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == name), None)

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return the request with these headers in place of those of the same names."""
        names = {name.lower() for name in headers}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return replace(self, headers={**kept, **headers})

    def _with_body(self, body: bytes, content_type: str) -> Self:
        request = replace(self, body=body)
        if self.header("content-type") is None:
            return request.with_headers({"Content-Type": content_type})
        return request


@dataclass(frozen=True)
class OutboundResponse:
    """What an outside app answered, whole. Its cookies are not kept."""

    status: int
    #: By lower-case name; repeated ones joined by comma.
    headers: Mapping[str, str] = field(repr=False)
    #: JSON when it says that it is and is, else text; None if there was no body.
    data: Any = field(repr=False)
    #: Where the answer came from after redirects, without secrets.
    url: str
    #: Seconds from the call to the last byte, redirects included.
    elapsed: float
    #: Bytes of the body, decompressed.
    size: int


def describe(request: OutboundRequest) -> dict[str, Any]:
    """Return the whole request as it may be shown: `{method, url, headers, body?}`."""
    shown: dict[str, Any] = {
        **brief(request),
        "headers": shown_headers(request.headers, request.secrets),
    }
    if request.body is not None:
        shown["body"] = scrub(_readable(request), request.secrets)
    return shown


def brief(request: OutboundRequest) -> dict[str, Any]:
    """Return what an error says of a request: `{method, url}`."""
    return {
        "method": request.method,
        "url": shown_url(request.url, request.query, request.secrets),
    }


def _readable(request: OutboundRequest) -> Any:
    """Return a body as the object that it was made of, so that its fields can be told apart."""
    content_type = request.header("content-type") or ""
    body = request.body or b""
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return parse_body(content_type, body)
