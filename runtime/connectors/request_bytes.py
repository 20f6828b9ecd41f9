"""A request as bytes for the wire (RFC 9112): the one place where its framing is written."""

from __future__ import annotations

from runtime.connectors.location import Location
from runtime.connectors.messages import OutboundRequest
from runtime.connectors.stream import StreamedBody

__all__ = ["written"]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
#: Sent unless the request has its own.
_DEFAULT_HEADERS = {"accept": "*/*", "user-agent": "vesicle"}


def written(
    request: OutboundRequest,
    location: Location,
    accept_encoding: str = "gzip, deflate",
    streamed: StreamedBody | None = None,
) -> bytes:
    """Return the request as bytes for the wire, without a body that is streamed."""
    lines = [f"{request.method} {location.target} HTTP/1.1", f"host: {location.authority}"]
    names = {name.lower() for name in request.headers}
    lines += [f"{name}: {value}" for name, value in _DEFAULT_HEADERS.items() if name not in names]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines.append(f"accept-encoding: {accept_encoding}")
    body = request.body or b""
    if streamed is not None:
        length = streamed.length
        known = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines.append(known)
    elif body or request.method in _WITH_BODY:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode(errors="replace") + body
