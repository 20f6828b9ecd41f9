"""The outermost layer of the API: request ids, one log line a request, and body limits."""

from __future__ import annotations

import re
import uuid

import orjson
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from runtime.clock import monotonic
from runtime.errors import PayloadTooLargeError

__all__ = ["Edge"]

log = structlog.get_logger()

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _TooLargeError(Exception):
    pass


class Edge:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, largest_body: int) -> None:
        """Refuse request bodies of more than `largest_body` bytes."""
        self._app = app
        self._largest = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Request(scope).headers.get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        started, status, begun = monotonic(), 500, False

        async def sending(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, self._bounded(scope, receive), sending)
        except _TooLargeError:
            if not begun:
                await self._refuse(sending, request_id)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((monotonic() - started) * 1000, 1),
            )
            clear_contextvars()

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        announced = Request(scope).headers.get("content-length", "0")
        left = self._largest
        too_large = announced.isdigit() and int(announced[:18]) > self._largest

        async def receiving() -> Message:
            nonlocal left
            if too_large:
                raise _TooLargeError
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _TooLargeError
            return message

        return receiving

    async def _refuse(self, send: Send, request_id: str) -> None:
        error = PayloadTooLargeError(
            f"The request body is larger than {self._largest} bytes.",
            data={"largest": self._largest},
        )
        body = orjson.dumps({**error.body(), "requestId": request_id})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            # The rest of the body is not read, so the connection cannot be used again.
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
