"""What a GraphQL answer means: its errors come with status 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime import clock
from runtime.connectors.messages import OutboundRequest, OutboundResponse, brief
from runtime.connectors.redaction import scrub
from runtime.connectors.responses import retry_after
from runtime.errors import (
    ConnectionExpiredError,
    ConnectionFailedError,
    ExternalRateLimitedError,
)

__all__ = ["refuse_graphql_errors"]

#: Errors that an error shows, and characters of each message.
_SHOWN, _LONGEST = 5, 500
#: What servers commonly put into `extensions.code` or `type` (GraphQL itself names no codes).
_EXPIRED = frozenset({"UNAUTHENTICATED", "AUTHENTICATION_ERROR", "INVALID_TOKEN"})
_LIMITED = frozenset({"RATELIMITED", "RATE_LIMITED", "THROTTLED", "TOO_MANY_REQUESTS"})


def refuse_graphql_errors(request: OutboundRequest, response: OutboundResponse) -> None:
    """Raise what the `errors` of an answer stand for (GraphQL specification, section 7).

    ConnectionExpiredError and ExternalRateLimitedError by their code, else ConnectionFailedError
    with `data.errors`; also (`data.reason`: `malformed`) for an answer that is none of GraphQL's.
    Part of a result beside errors is not a result.
    """
    body = response.data
    errors = body.get("errors") if isinstance(body, Mapping) else None
    if not errors:
        if isinstance(body, Mapping) and "data" in body:
            return
        raise ConnectionFailedError(
            "The outside app's answer is not one of GraphQL's: it has neither data nor errors.",
            data={"reason": "malformed", "request": brief(request)},
        )
    shown = [_shown(error, request) for error in (errors if isinstance(errors, list) else [errors])]
    codes = {error["code"] for error in shown if "code" in error}
    data: dict[str, Any] = {"request": brief(request), "errors": shown[:_SHOWN]}
    if codes & _EXPIRED:
        raise ConnectionExpiredError(data=data)
    if codes & _LIMITED:
        wait = retry_after(response, clock.now())
        raise ExternalRateLimitedError(data=data | ({} if wait is None else {"retryAfter": wait}))
    raise ConnectionFailedError(
        f"The outside app answered with an error: {shown[0]['message']}", data=data
    )


def _shown(error: Any, request: OutboundRequest) -> dict[str, Any]:
    found = error if isinstance(error, Mapping) else {"message": str(error)}
    shown: dict[str, Any] = {
        "message": str(scrub(str(found.get("message", ""))[:_LONGEST], request.secrets))
    }
    extensions = found.get("extensions")
    code = extensions.get("code") if isinstance(extensions, Mapping) else found.get("type")
    if isinstance(code, str):
        shown["code"] = code[:100]
    path = found.get("path")
    if isinstance(path, list):
        shown["path"] = "/" + "/".join(str(step)[:100] for step in path[:20])
    return shown
