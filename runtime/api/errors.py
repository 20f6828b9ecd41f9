"""Turns errors into answers: the contract's envelope, the right status, and a request id."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy.exc
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from runtime.api.answers import JsonAnswer
from runtime.errors import BadRequestError, NotFoundError, VesicleError

__all__ = ["answer", "install", "recorded", "status_of"]

log = structlog.get_logger()

_UNSTORABLE = (
    "The request holds a value that cannot be stored: text with a NUL character, or a number out of"
    " range."
)
_STATUS_KEYS = {404: "not_found", 405: "method_not_allowed"}


def _statuses() -> dict[tuple[str, str | None], int]:
    found: dict[tuple[str, str | None], int] = {}
    waiting: list[type[VesicleError]] = [VesicleError]
    while waiting:
        kind = waiting.pop(0)
        found.setdefault((kind.type, kind.key), kind.status)
        waiting.extend(kind.__subclasses__())
    return found


def status_of(body: dict[str, Any]) -> int:
    """Return the HTTP status of an error that is known only by its envelope."""
    statuses = _statuses()
    kind = str(body.get("type"))
    return statuses.get((kind, body.get("key"))) or statuses.get((kind, None), 500)


def headers_of(body: dict[str, Any]) -> dict[str, str]:
    """Return the headers that belong to an error: when to come back, and which limit it was.

    `RateLimit` and `RateLimit-Policy` follow the IETF draft (draft-ietf-httpapi-ratelimit-headers).
    """
    data = body.get("data") or {}
    headers = {}
    if isinstance(data.get("retryAfter"), int | float):
        headers["Retry-After"] = str(int(data["retryAfter"]))
    if "windowSeconds" in data:
        name, left = data["resource"], max(0, int(data["limit"] - data["used"]))
        quota = int(data["limit"])
        headers["RateLimit-Policy"] = f'"{name}";q={quota};w={data["windowSeconds"]}'
        reset = f";t={int(data['retryAfter'])}" if "retryAfter" in data else ""
        headers["RateLimit"] = f'"{name}";r={left}{reset}'
    return headers


def answer(request: Request, error: VesicleError, **extra: Any) -> JsonAnswer:
    """Return the response for an error; `extra` joins the envelope."""
    body = {**error.body(), "requestId": request.state.request_id, **extra}
    return JsonAnswer(body, error.status, {**headers_of(body), **error.headers})


def recorded(request: Request, body: dict[str, Any], **extra: Any) -> JsonAnswer:
    """Return the response for an error that a run left on record."""
    full = {**body, "requestId": request.state.request_id, **extra}
    return JsonAnswer(full, status_of(body), headers_of(body))


def install(app: FastAPI) -> None:
    """Make the app answer every failure in the contract's shape."""

    async def known(request: Request, error: Exception) -> JsonAnswer:
        assert isinstance(error, VesicleError)  # noqa: S101 - registered for it
        if error.status >= 500:  # noqa: PLR2004 - server errors
            log.error("request.failed", type=error.type, key=error.key, message=error.message)
        return answer(request, error)

    async def malformed(request: Request, error: Exception) -> JsonAnswer:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        faults = [
            {"path": "/" + "/".join(str(step) for step in fault["loc"]), "message": fault["msg"]}
            for fault in error.errors()[:20]
        ]
        first = faults[0]
        return answer(
            request,
            BadRequestError(f"{first['path']}: {first['message']}", data={"errors": faults}),
        )

    async def unrouted(request: Request, error: Exception) -> JsonAnswer:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        if error.status_code == 404:  # noqa: PLR2004 - not found
            return answer(request, NotFoundError(f"There is no {request.method} {_path(request)}."))
        body = {
            "type": "bad_request",
            "key": _STATUS_KEYS.get(error.status_code, "bad_request"),
            "message": f"{request.method} {_path(request)}: {error.detail}",
            "requestId": request.state.request_id,
        }
        return JsonAnswer(body, error.status_code, error.headers)

    async def unstorable(request: Request, error: Exception) -> JsonAnswer:
        log.warning("request.unstorable", error=type(error).__name__)
        return answer(request, BadRequestError(_UNSTORABLE))

    app.add_exception_handler(VesicleError, known)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unrouted)
    for kind in (psycopg.DataError, sqlalchemy.exc.DataError):
        app.add_exception_handler(kind, unstorable)


def _path(request: Request) -> str:
    return request.url.path[:200]
