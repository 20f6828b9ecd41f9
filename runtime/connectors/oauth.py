"""Gets access tokens: OAuth 2 client credentials and refresh tokens (RFC 6749 §4.4 and §6).

oauthlib writes the requests and reads the answers; the calls go through `OutboundClient`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus

import orjson
from oauthlib.oauth2 import BackendApplicationClient, Client, OAuth2Error

from runtime import clock
from runtime.connectors.auth import credential, secrets_of
from runtime.connectors.client import OutboundClient
from runtime.connectors.definition import (
    ClientCredentialsAuth,
    ConnectorDefinition,
    OAuthSpec,
    RefreshTokenAuth,
)
from runtime.connectors.messages import OutboundRequest, OutboundResponse, brief
from runtime.connectors.placeholders import fill_base
from runtime.connectors.responses import retry_after
from runtime.errors import (
    ConfigurationError,
    ConnectionDefunctError,
    ConnectionFailedError,
    ExternalRateLimitedError,
)

__all__ = ["TokenGrant", "needs_refresh", "obtain_token"]

#: Seconds and bytes for a token endpoint's answer; real ones take a second and a few kilobytes.
_TIMEOUT = 20.0
_MAX_REPLY = 65_536
#: Refresh this long before the end, or at the last fifth of a shorter life.
_MARGIN = 900.0
_MARGIN_SHARE = 0.2
#: For a token whose lifetime nobody noted.
_MARGIN_UNKNOWN = 60.0
#: Longest lifetime in seconds that is believed: ten years.
_MAX_LIFETIME = 315_360_000
#: The error codes of RFC 6749 §5.2 and §4.1.2.1; any other text of the app's might be a token.
_KNOWN_ERRORS = frozenset(
    {
        "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "server_error",
        "temporarily_unavailable", "unauthorized_client", "unsupported_grant_type",
    }
)  # fmt: skip


@dataclass(frozen=True)
class TokenGrant:
    """What the app granted. `raw` is its whole answer, for what only one app says."""

    access_token: str = field(repr=False)
    #: The refresh token to use from now on; None if the app sent none and the old one stays.
    refresh_token: str | None = field(repr=False)
    #: None if the app did not say.
    expires_at: datetime | None
    #: Seconds from the grant to `expires_at`.
    lifetime: float | None
    scope: str | None
    raw: Mapping[str, Any] = field(repr=False)


def needs_refresh(expires_at: datetime | None, lifetime: float | None, now: datetime) -> bool:
    """Tell whether a token is so near its end that it should be replaced before it is used.

    The margin is 15 minutes or a fifth of its lifetime (in seconds), whichever is less.
    """
    if expires_at is None:
        return False
    margin = _MARGIN_UNKNOWN if lifetime is None else min(_MARGIN, _MARGIN_SHARE * lifetime)
    return now >= expires_at - timedelta(seconds=margin)


async def obtain_token(
    client: OutboundClient,
    definition: ConnectorDefinition,
    parameters: Mapping[str, Any],
    credentials: Mapping[str, Any],
) -> TokenGrant:
    """Ask the app for a token by the connector's grant.

    Raises ConnectionDefunctError if the app says that the grant is no longer valid (the customer
    has to connect again), ExternalRateLimitedError, and ConnectionFailedError for anything else.
    No error shows what the app answered beyond a known error code.
    """
    auth = definition.auth
    if not isinstance(auth, OAuthSpec):
        raise ConfigurationError("This connector does not use OAuth 2.")
    request = _token_request(definition, auth, parameters, credentials)
    response = await client.send(
        request, timeout=_TIMEOUT, max_response=_MAX_REPLY, follow_redirects=False
    )
    return _granted(request, response)


def _token_request(
    definition: ConnectorDefinition,
    auth: OAuthSpec,
    parameters: Mapping[str, Any],
    credentials: Mapping[str, Any],
) -> OutboundRequest:
    client_id, secret = _client_login(parameters, credentials)
    in_body = auth.client_auth_location == "body"
    proof = {"client_secret": secret} if in_body else {}
    scope = " ".join(auth.scopes) or None
    match auth:
        case ClientCredentialsAuth():
            body = BackendApplicationClient(client_id).prepare_request_body(
                scope=scope, include_client_id=in_body, **proof
            )
        case RefreshTokenAuth():
            body = Client(client_id).prepare_refresh_body(
                refresh_token=credential(credentials, "refresh_token"),
                scope=scope,
                include_client_id=in_body,
                client_id=client_id,
                **proof,
            )
        case _:
            raise ConfigurationError("This connector's OAuth 2 grant is not known.")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    # RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
    login = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    pair = base64.b64encode(login.encode()).decode()
    if not in_body:
        headers["Authorization"] = f"Basic {pair}"
    secrets = secrets_of(definition, parameters, credentials) | {secret, pair}
    token_uri = fill_base(auth.token_uri, {**parameters, **credentials})
    return OutboundRequest("POST", token_uri, headers, body=body.encode(), secrets=secrets)


def _client_login(parameters: Mapping[str, Any], credentials: Mapping[str, Any]) -> tuple[str, str]:
    """Return the OAuth client's id and secret, both from the same place."""
    for source in (credentials, parameters):
        for id_name, secret_name in (("clientId", "clientSecret"), ("client_id", "client_secret")):
            client_id, secret = source.get(id_name), source.get(secret_name, "")
            if isinstance(client_id, str) and client_id and isinstance(secret, str):
                return client_id, secret
    raise ConfigurationError("The integration has no clientId and clientSecret.")


def _granted(request: OutboundRequest, response: OutboundResponse) -> TokenGrant:
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = retry_after(response, clock.now())
        raise ExternalRateLimitedError(
            data=_seen(request, response) | ({} if wait is None else {"retryAfter": wait})
        )
    try:
        return _read(response)
    except OAuth2Error as error:
        code = str(error.error) if str(error.error) in _KNOWN_ERRORS else "an unknown error"
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        code = "something that is no token"
    failure = ConnectionDefunctError if code == "invalid_grant" else ConnectionFailedError
    raise failure(
        f"The token endpoint answered {response.status}, {code}.", data=_seen(request, response)
    )


def _read(response: OutboundResponse) -> TokenGrant:
    """Return the grant in an answer; raises whatever oauthlib does if there is none."""
    text = response.data if isinstance(response.data, str) else orjson.dumps(response.data).decode()
    token: dict[str, Any] = Client("").parse_request_body_response(text)
    access_token, refresh_token = token["access_token"], token.get("refresh_token")
    if response.status >= HTTPStatus.BAD_REQUEST or not _is_token(access_token):
        raise ValueError("no token")
    lifetime = token.get("expires_in")
    seconds = None if not lifetime else float(min(max(int(lifetime), 0), _MAX_LIFETIME))
    scope = token.get("scope")
    return TokenGrant(
        access_token=access_token,
        refresh_token=refresh_token if _is_token(refresh_token) else None,
        expires_at=None if seconds is None else clock.now() + timedelta(seconds=seconds),
        lifetime=seconds,
        scope=" ".join(scope) if isinstance(scope, list) else scope,
        raw=dict(token),
    )


def _is_token(value: Any) -> bool:
    """Tell whether a value is a token that a header can carry: RFC 6749 §A.12, VSCHAR."""
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def _seen(request: OutboundRequest, response: OutboundResponse) -> dict[str, Any]:
    return {"request": brief(request), "response": {"status": response.status}}
