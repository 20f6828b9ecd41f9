"""Builds the request that passes through, so that no path leads away from the connection's base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_plus

from runtime.actions.connected import Connected
from runtime.connectors.auth import apply_auth, secrets_of, with_basic
from runtime.connectors.definition import ApiKeyAuth
from runtime.connectors.location import parse_location
from runtime.connectors.messages import OutboundRequest
from runtime.connectors.placeholders import fill, fill_base
from runtime.errors import BadRequestError

__all__ = ["Asked", "outbound"]

_PATH_CHARACTERS = "/:@!$&'()*+,;=-._~%"
_QUERY_CHARACTERS = _PATH_CHARACTERS + "?[]{}|"
#: How often a path may be encoded over and over before it is taken for an attack.
_LAYERS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants to have asked; path and query as they stood on the wire."""

    method: str
    #: Below the connection's base, without a / at its start.
    path: bytes
    query: bytes
    #: As `request_headers` lets them pass.
    headers: Mapping[str, str]
    #: The whole body if it is short; the rest comes as a stream.
    body: bytes | None = None


def outbound(connected: Connected, asked: Asked) -> OutboundRequest:
    """Return the request with the connection's credentials, below the connection's base.

    What the caller asks wins over the connector's own headers and query, the credentials over both.
    Raises BadRequestError for a path that leads elsewhere, and what `build_request` raises.
    """
    definition = connected.definition
    values = {**connected.parameters, **connected.credentials}
    base = fill_base(definition.api_client.base_uri, values)
    path, query = _path(asked.path), quote(asked.query, safe=_QUERY_CHARACTERS)
    auth = definition.auth
    if isinstance(auth, ApiKeyAuth) and auth.place == "query":
        query = _without(query, auth.name)
    given = {unquote_plus(pair.partition("=")[0]) for pair in query.split("&")}
    own = {
        name: fill(text, values)
        for name, text in definition.api_client.query.items()
        if name not in given
    }
    url = f"{base}/{path}" + (f"?{query}" if query else "")
    if parse_location(url).origin != parse_location(base).origin:
        raise _leads_away()
    request = OutboundRequest(
        asked.method,
        url,
        {name: fill(text, values) for name, text in definition.api_client.headers.items()},
        own,
        body=asked.body,
        secrets=secrets_of(definition, connected.parameters, {}),
    )
    if (login := definition.api_client.auth) is not None:
        request = with_basic(request, fill(login.username, values), fill(login.password, values))
    request = request.with_headers(asked.headers)
    return apply_auth(definition, connected.credentials, request, connected.parameters)


def _path(raw: bytes) -> str:
    """Return the path as it goes on the wire; nothing in it may climb or name another place."""
    path = quote(raw, safe=_PATH_CHARACTERS)
    plain = path
    for _ in range(_LAYERS):
        if plain.startswith(("/", "\\")) or "://" in plain or "\\" in plain:
            raise _leads_away()
        if any(segment in (".", "..") for segment in plain.split("/")):
            raise _leads_away()
        if any(character < " " or character == "\x7f" for character in plain):
            raise BadRequestError("The path holds a control character.", data={"path": "/path"})
        plain, before = unquote(plain), plain
        if plain == before:
            return path
        # Encoded, a URL is one segment of a path like any other: it leads nowhere.
        plain = plain.replace("://", ":")
    raise _leads_away()


def _without(query: str, name: str) -> str:
    pairs = query.split("&")
    return "&".join(pair for pair in pairs if unquote_plus(pair.partition("=")[0]) != name)


def _leads_away() -> BadRequestError:
    return BadRequestError(
        "The path after /proxy/ must be a plain path below the connection's base, without `.`,"
        " `..`, an empty first segment or a host.",
        data={"path": "/path"},
    )
