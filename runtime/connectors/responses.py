"""What an outside app's answer means: a result, or which error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import orjson

from runtime import clock
from runtime.connectors.definition import ConnectorDefinition
from runtime.connectors.handlers import HandlerError, ResponseHandler
from runtime.connectors.messages import OutboundRequest, OutboundResponse, brief
from runtime.connectors.redaction import scrub
from runtime.connectors.spec import Compute
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
#: Characters of a message that a connector makes of an answer.
_MAX_MESSAGE = 500
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


def _as_it_is(formula: Any, _: Mapping[str, Any]) -> Any:
    """Take a handler's message and data for plain ones, where nobody knows formulas."""
    return formula


def interpret(
    definition: ConnectorDefinition | None,
    request: OutboundRequest,
    response: OutboundResponse,
    *,
    allow_errors: bool = False,
    compute: Compute = _as_it_is,
) -> OutboundResponse:
    """Return the answer if it is a result, else raise the error that it stands for.

    The connector's first matching handler decides; `compute` evaluates its formulas, and what it
    makes of a result's data takes its place. Without a handler, 2xx is a result; 401 raises
    ConnectionExpiredError (if there is a connector, and so a credential that was refused), 429
    ExternalRateLimitedError with `data.retryAfter` in seconds, and anything else
    ConnectionFailedError. `allow_errors` takes every status as a result, but for the 401 that
    says that a token has to be renewed.
    """
    status = response.status
    for handler in definition.api_client.response_handlers if definition else ():
        seen = _seen(response)
        if _is_meant(handler, seen, compute):
            if not handler.is_success:
                raise _error(request, response, _computed(handler, seen, compute))
            if handler.data is None:
                return response
            return replace(response, data=compute(handler.data, seen))
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


def _seen(response: OutboundResponse) -> dict[str, Any]:
    """Return what a handler's formulas see of an answer."""
    headers = dict(response.headers)
    return {"status": response.status, "headers": headers, "data": response.data}


def _is_meant(handler: ResponseHandler, seen: Mapping[str, Any], compute: Compute) -> bool:
    if not handler.matches(seen["status"]):
        return False
    condition = handler.match.when
    return condition is None or compute(condition, seen) is True


def _computed(handler: ResponseHandler, seen: Mapping[str, Any], compute: Compute) -> HandlerError:
    """Return the error that a handler makes of an answer, with its own words for it."""
    error = handler.error or HandlerError()
    message = None if error.message is None else compute(error.message, seen)
    return HandlerError(
        key=error.key,
        message=message[:_MAX_MESSAGE] if isinstance(message, str) and message else None,
        data=None if error.data is None else compute(error.data, seen),
    )


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
    if meaning.data is not None:
        data["details"] = _limited(scrub(meaning.data, request.secrets))
    message = meaning.message and scrub(meaning.message, request.secrets)
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
    """Return an answer's data as an error may show it."""
    if response.size > _MAX_READ:
        return f"{response.size} bytes"
    return _limited(scrub(response.data, request.secrets))


def _limited(data: Any) -> Any:
    """Return data of up to 4 KB as it is, more as the beginning of its text."""
    text = data if isinstance(data, str) else orjson.dumps(data).decode()
    if len(text.encode(errors="replace")) <= _MAX_SHOWN:
        return data
    return text.encode(errors="replace")[:_MAX_SHOWN].decode(errors="ignore") + "…"
