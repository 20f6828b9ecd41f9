"""The outermost layer of the API: request ids, one log line a request, body limits, crashes."""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from runtime.clock import monotonic
from runtime.errors import BadRequestError, InternalError, PayloadTooLargeError, VesicleError

__all__ = ["Edge"]

log = structlog.get_logger()

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
            if (nul := _nul_in(scope)) is not None:
                await _answer(sending, nul, request_id)
            else:
                await self._app(scope, self._bounded(scope, receive), sending)
        except Exception as error:
            log.exception("request.crashed", error=type(error).__name__)
            if begun:
                raise  # the server cuts the connection, so half an answer is not taken for one
            await _answer(sending, InternalError(), request_id)
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
                raise _too_large(self._largest)
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(self._largest)
            return message

        return receiving


def _nul_in(scope: Scope) -> BadRequestError | None:
    """Return the refusal of a NUL character, which no name holds and PostgreSQL does not take."""
    if "\x00" in scope["path"]:
        return BadRequestError("The path contains a NUL character.")
    if b"%00" not in scope["query_string"]:
        return None
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    name = next((name for name, text in query if "\x00" in name + text), "query")[:60]
    fault = {"path": f"/{name}", "message": "contains a NUL"}
    return BadRequestError(f"{name!r} contains a NUL character.", data={"errors": [fault]})


def _too_large(largest: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The request body is larger than {largest} bytes.",
        data={"largest": largest},
        # The rest of the body is not read, so the connection cannot be used again.
        headers={"Connection": "close"},
    )


async def _answer(send: Send, error: VesicleError, request_id: str) -> None:
    """Answer without the app, which was not asked or could not."""
    body = orjson.dumps({**error.body(), "requestId": request_id})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
