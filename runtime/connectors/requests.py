"""Builds the request that an action makes, so that no input can send it to another place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from runtime.connectors.auth import apply_auth, secrets_of, with_basic
from runtime.connectors.definition import ConnectorDefinition
from runtime.connectors.location import parse_location
from runtime.connectors.messages import OutboundRequest
from runtime.connectors.placeholders import fill, fill_base, fill_path
from runtime.errors import ConfigurationError, InputInvalidError

__all__ = ["build_plain_request", "build_request"]

_FORM = "application/x-www-form-urlencoded"
_NOT_IN_PATH = re.compile(r"[\\#\x00-\x20\x7f]")


def build_request(  # noqa: PLR0913 - a request has this many parts; all but three are named
    definition: ConnectorDefinition,
    parameters: Mapping[str, Any],
    credentials: Mapping[str, Any],
    *,
    path: Any,
    method: Any = "GET",
    path_parameters: Any = None,
    query: Any = None,
    headers: Any = None,
    data: Any = None,
) -> OutboundRequest:
    """Return the request for a path of the connector's app, with the connection's credentials.

    `path` is below the connector's base and may hold `{name}`s, which become single, encoded
    segments. `query` and `headers` win over the connector's own, the credentials over both. `data`
    is sent as JSON, as a form if the headers say so, or as it is if it is bytes, or text of a type
    that the headers name. The parts may come from formulas, so their types are checked here.

    Raises ConfigurationError, InputInvalidError for a value that cannot be sent, and
    ConnectionDefunctError if a credential is missing.
    """
    values = {**parameters, **credentials}
    base = fill_base(definition.api_client.base_uri, values)
    url = base + _path(_text("path", path), _mapping("pathParameters", path_parameters))
    if parse_location(url).origin != parse_location(base).origin:
        raise ConfigurationError("The path leads away from the connector's own address.")
    request = OutboundRequest(
        _text("method", method).upper(),
        url,
        _filled(definition.api_client.headers, values),
        {**_filled(definition.api_client.query, values), **_mapping("query", query)},
        secrets=secrets_of(definition, parameters, {}),
    )
    request = _with_login(definition, values, request).with_headers(_texts(headers))
    return apply_auth(definition, credentials, _with_data(request, data), parameters)


def _with_login(
    definition: ConnectorDefinition, values: Mapping[str, Any], request: OutboundRequest
) -> OutboundRequest:
    login = definition.api_client.auth
    if login is None:
        return request
    return with_basic(request, fill(login.username, values), fill(login.password, values))


def build_plain_request(
    *,
    uri: Any,
    method: Any = "GET",
    query: Any = None,
    headers: Any = None,
    body: Any = None,
) -> OutboundRequest:
    """Return a request to any address, without credentials. Raises as `build_request` does."""
    request = OutboundRequest(
        _text("method", method).upper(),
        _text("uri", uri),
        _texts(headers),
        _mapping("query", query),
    )
    return _with_data(request, body)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputInvalidError(f"The request's {name} must be a text.")
    return value


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise InputInvalidError(f"The request's {name} must be an object.")
    return value or {}


def _path(path: str, parameters: Mapping[str, Any]) -> str:
    """Return an encoded path that starts with one / and stays below its base."""
    if "://" in path.partition("?")[0] or path.startswith("//") or _NOT_IN_PATH.search(path):
        raise ConfigurationError("The path must be a plain path such as /deals/{id}.")
    if any(unquote(segment) in (".", "..") for segment in path.partition("?")[0].split("/")):
        raise ConfigurationError("The path must not contain . or .. segments.")
    path = fill_path(path, parameters)
    return path if path.startswith(("/", "?")) or not path else f"/{path}"


def _filled(texts: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    return {name: fill(text, values) for name, text in texts.items()}


def _texts(headers: Any) -> dict[str, str]:
    """Return headers as texts; those without a value are left out."""
    texts = {}
    for name, value in _mapping("headers", headers).items():
        if isinstance(value, Mapping | list | tuple):
            raise InputInvalidError(f"The header {name} must be a text.")
        if value is not None:
            texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts


def _with_data(request: OutboundRequest, data: Any) -> OutboundRequest:
    if data is None:
        return request
    if isinstance(data, bytes):
        return replace(request, body=data)
    content_type = (request.header("content-type") or "").lower()
    if isinstance(data, Mapping) and content_type.startswith(_FORM):
        return request.with_form(data)
    if isinstance(data, str) and content_type and "json" not in content_type:
        return replace(request, body=data.encode(errors="replace"))
    return request.with_json(data)
