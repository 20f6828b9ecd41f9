"""Puts a connection's credentials on a request, and says which of its values are secret."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from oauthlib.oauth1 import Client
from pydantic.alias_generators import to_camel, to_snake

from runtime.connectors.definition import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    ConnectorDefinition,
    OAuth1Auth,
    OAuthSpec,
)
from runtime.connectors.location import parse_location
from runtime.connectors.messages import OutboundRequest
from runtime.connectors.redaction import is_secret_name
from runtime.errors import ConfigurationError, ConnectionDefunctError

__all__ = ["apply_auth", "credential", "secrets_of", "with_basic"]

#: What a customer enters but anybody may see, unless the schema says that it is sensitive.
_PUBLIC = frozenset(
    {
        "baseUri", "clientId", "domain", "expiresAt", "host", "lifetime", "region", "scope",
        "scopes", "subdomain", "tokenType", "username",
    }
)  # fmt: skip


def apply_auth(
    definition: ConnectorDefinition,
    credentials: Mapping[str, Any],
    request: OutboundRequest,
    parameters: Mapping[str, Any] | None = None,
) -> OutboundRequest:
    """Return the request as the app expects it from this connection.

    `parameters` are the integration's, of which a signature takes the consumer's. Raises
    ConnectionDefunctError if a credential is missing: the customer has to connect again.
    """
    request = replace(request, secrets=request.secrets | secrets_of(definition, {}, credentials))
    match definition.auth:
        case ApiKeyAuth() as auth:
            return _keyed(auth, credentials, request)
        case BearerAuth() as auth:
            return _bearer(request, credential(credentials, auth.credential))
        case OAuth1Auth() as auth:
            return _signed(auth, {**(parameters or {}), **credentials}, request)
        case OAuthSpec():
            return _bearer(request, credential(credentials, "access_token"))
        case BasicAuth():
            return with_basic(request, credential(credentials, "username"), _password(credentials))
        case _:
            return request


def _signed(
    auth: OAuth1Auth, values: Mapping[str, Any], request: OutboundRequest
) -> OutboundRequest:
    """Return the request with a signature of its method, address and form (RFC 5849)."""
    client = Client(
        credential(values, "consumerKey"),
        credential(values, "consumerSecret"),
        credential(values, "token"),
        credential(values, "tokenSecret"),
        signature_method=auth.signature_method,
        realm=auth.realm,
    )
    kind = request.header("content-type") or ""
    form = request.body if kind.startswith("application/x-www-form-urlencoded") else None
    url = parse_location(request.url, request.query).url
    try:
        _, headers, _ = client.sign(
            url,
            cast("Any", request.method),
            form.decode() if form is not None else None,
            {"Content-Type": kind} if form is not None else {},
        )
    except ValueError as error:
        raise ConfigurationError(f"The request cannot be signed: {error}") from None
    return request.with_headers({"Authorization": headers["Authorization"]})


def with_basic(request: OutboundRequest, username: str, password: str) -> OutboundRequest:
    """Return the request with basic authentication (RFC 7617)."""
    pair = base64.b64encode(f"{username}:{password}".encode(errors="replace")).decode()
    request = replace(request, secrets=request.secrets | {pair})
    return request.with_headers({"Authorization": f"Basic {pair}"})


def credential(credentials: Mapping[str, Any], name: str) -> str:
    """Return a credential that must be there, spelled `some_name` or `someName`.

    Raises ConnectionDefunctError.
    """
    for spelling in (name, to_snake(name), to_camel(name)):
        value = credentials.get(spelling)
        if isinstance(value, str) and value:
            return value
    raise ConnectionDefunctError(f"The connection has no credential {name!r}; connect again.")


def secrets_of(
    definition: ConnectorDefinition,
    parameters: Mapping[str, Any],
    credentials: Mapping[str, Any],
) -> frozenset[str]:
    """Return the values that must never be shown.

    A property's `isSensitive` in its schema decides. Where it is silent, credentials are secret
    unless their name is one of the few harmless ones, parameters only if their name says so.
    """
    asked = _sensitivity(definition.credentials_schema)
    given = _sensitivity(definition.parameters_schema)
    values = [
        value
        for name, value in credentials.items()
        if asked.get(name, to_camel(name) not in _PUBLIC)
    ]
    values += [value for name, value in parameters.items() if given.get(name, is_secret_name(name))]
    return frozenset(value for value in values if isinstance(value, str) and value)


def _keyed(
    auth: ApiKeyAuth, credentials: Mapping[str, Any], request: OutboundRequest
) -> OutboundRequest:
    key = auth.prefix + credential(credentials, auth.credential)
    if auth.place == "query":
        return replace(request, query={**(request.query or {}), auth.name: key})
    return request.with_headers({auth.name: key})


def _bearer(request: OutboundRequest, token: str) -> OutboundRequest:
    return request.with_headers({"Authorization": f"Bearer {token}"})


def _password(credentials: Mapping[str, Any]) -> str:
    """Return the password, which may be empty: some apps take their key as the user name."""
    value = credentials.get("password", "")
    return value if isinstance(value, str) else ""


def _sensitivity(schema: Mapping[str, Any] | None) -> dict[str, bool]:
    """Return what a schema says of its properties: `{name: isSensitive}`."""
    properties = (schema or {}).get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {
        name: bool(member["isSensitive"])
        for name, member in properties.items()
        if isinstance(member, Mapping) and "isSensitive" in member
    }
