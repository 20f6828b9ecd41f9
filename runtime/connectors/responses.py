"""What an outside app's answer means: a result, or which error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import orjson

from runtime import clock
from runtime.connectors.definition import ConnectorDefinition, HandlerError
from runtime.connectors.messages import OutboundRequest, OutboundResponse, brief
from runtime.connectors.redaction import scrub
from runtime.errors import (
    ConnectionDefunctError,
    ConnectionExpiredError,
    ConnectionFailedError,
    ExternalRateLimitedError,
)

__all__ = ["interpret", "retry_after"]

#: Bytes of an answer's body that an error shows.
_MAX_SHOWN = 4096
#: Above this size in bytes an error does not look into a body: it would hold up all other runs.
_MAX_READ = 262_144
#: Longest wait in seconds that an app can ask for: a day.
_MAX_WAIT = 86_400.0
#: Answer headers that help to understand an error and are nobody's secret.
_SHOWN_HEADERS = frozenset(
    {
        "content-length", "content-type", "date", "request-id", "retry-after", "server",
        "x-correlation-id", "x-request-id", "x-trace-id",
    }
)  # fmt: skip
_SHOWN_PREFIXES = ("ratelimit", "x-ratelimit", "x-rate-limit")

_BY_KEY: Mapping[str, type[ConnectionFailedError]] = {
    "access_token_expired": ConnectionExpiredError,
    "rate_limit_exceeded": ExternalRateLimitedError,
    "connection_is_defunct": ConnectionDefunctError,
}
_EXPIRED = HandlerError(key="access_token_expired")


def interpret(
    definition: ConnectorDefinition | None,
    request: OutboundRequest,
    response: OutboundResponse,
    *,
    allow_errors: bool = False,
) -> OutboundResponse:
    """Return the answer if it is a result, else raise the error that it stands for.

    The connector's first matching handler decides. Without one, 2xx is a result; 401 raises
    ConnectionExpiredError (if there is a connector, and so a credential that was refused), 429
    ExternalRateLimitedError with `data.retryAfter` in seconds, and anything else
    ConnectionFailedError. `allow_errors` takes every status as a result, but for the 401 that
    says that a token has to be renewed.
    """
    status = response.status
    for handler in definition.api_client.response_handlers if definition else ():
        if handler.matches(status):
            if handler.is_success:
                return response
            raise _error(request, response, handler.error or HandlerError())
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return response
    refused = definition is not None and status == HTTPStatus.UNAUTHORIZED
    if allow_errors and not (refused and definition and definition.auth.uses_tokens):
        return response
    raise _error(request, response, _EXPIRED if refused else _meaning(status))


def retry_after(response: OutboundResponse, now: datetime) -> float | None:
    """Return for how many seconds the app asks us to wait, at most a day; None if it does not.

    Retry-After is a number of seconds or a date (RFC 9110 §10.2.3); what is neither is ignored.
    """
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:20])
    else:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), _MAX_WAIT)


def _meaning(status: int) -> HandlerError:
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    return HandlerError(key="rate_limit_exceeded" if limited else None)


def _error(
    request: OutboundRequest, response: OutboundResponse, meaning: HandlerError
) -> ConnectionFailedError:
    kind = _BY_KEY.get(meaning.key or "", ConnectionFailedError)
    data: dict[str, Any] = {
        "request": brief(request),
        "response": _shown(request, response),
    }
    message = meaning.message
    if kind in (ExternalRateLimitedError, ConnectionFailedError):
        wait = retry_after(response, clock.now())
        data |= {} if wait is None else {"retryAfter": wait}
    if kind is ConnectionFailedError and message is None:
        message = f"The outside app answered {response.status}."
    return kind(message, data=data)


def _shown(request: OutboundRequest, response: OutboundResponse) -> dict[str, Any]:
    """Return what an error says of an answer: `{status, headers, data}`, without secrets."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if name in _SHOWN_HEADERS or name.startswith(_SHOWN_PREFIXES)
    }
    return {
        "status": response.status,
        "headers": scrub(headers, request.secrets),
        "data": _short(request, response),
    }


def _short(request: OutboundRequest, response: OutboundResponse) -> Any:
    """Return data of up to 4 KB as it is, more as the beginning of its text."""
    if response.size > _MAX_READ:
        return f"{response.size} bytes"
    data = scrub(response.data, request.secrets)
    text = data if isinstance(data, str) else orjson.dumps(data).decode()
    if len(text.encode(errors="replace")) <= _MAX_SHOWN:
        return data
    return text.encode(errors="replace")[:_MAX_SHOWN].decode(errors="ignore") + "…"
