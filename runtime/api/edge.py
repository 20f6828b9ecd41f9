"""The outermost layer of the API: request ids, one log line a request, body limits, crashes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from runtime import metrics
from runtime.clock import monotonic
from runtime.errors import (
    BadRequestError,
    InternalError,
    PayloadTooLargeError,
    ServiceUnavailableError,
    VesicleError,
)

__all__ = ["LARGEST_HEAD", "Edge"]

log = structlog.get_logger()

#: Bytes of all headers of a request together.
LARGEST_HEAD = 65_536

#: Seconds for which a body that was refused is still taken.
_LINGER = 5.0

#: What the log says of a caller who left before the answer; nginx has made it known.
_HUNG_UP = 499

#: Where somebody may post by knowing the address, the address is a secret.
_WEBHOOK_KEY = re.compile(r"wh_[\w-]+", re.ASCII)

_STOPPING = (
    "This process stops before it could finish the request; ask again. With an Idempotency-Key,"
    " what was accepted is not accepted twice."
)

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
        request_id = _name_request(scope)
        started, status, begun = monotonic(), 500, False
        body = _Body(scope, receive, self._largest)
        scope["state"]["allow_body"] = body.allow

        async def sending(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            elif body.is_refused and not message.get("more_body", False):
                # All is said, but the connection is closed only when the caller had time to hear.
                await send({**message, "more_body": True})
                await body.linger()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self._serve(scope, body, sending, request_id)
        except ClientDisconnect:
            status = _HUNG_UP
        except asyncio.CancelledError:
            # The server stops, and this request has outlasted its patience.
            if begun or (task := asyncio.current_task()) is None:
                raise
            task.uncancel()
            error = ServiceUnavailableError(_STOPPING, headers={"Retry-After": "1"})
            await _answer(sending, error, request_id)
        except Exception as error:
            log.exception("request.crashed", error=type(error).__name__)
            if begun:
                raise  # the server cuts the connection, so half an answer is not taken for one
            await _answer(sending, InternalError(), request_id)
        finally:
            seconds = monotonic() - started
            log.info(
                "request",
                method=scope["method"],
                path=_WEBHOOK_KEY.sub("wh_…", scope["path"]),
                status=status,
                ms=round(seconds * 1000, 1),
            )
            route = getattr(scope.get("route"), "path", None)
            metrics.request_answered(scope["method"], route, status, seconds)
            clear_contextvars()

    async def _serve(self, scope: Scope, body: _Body, send: Send, request_id: str) -> None:
        """Ask the app, unless no request may look like this one."""
        if (refusal := _too_large(scope) or _nul_in(scope)) is not None:
            await _answer(send, refusal, request_id)
        else:
            await self._app(scope, body.receive, send)


def _name_request(scope: Scope) -> str:
    """Return the request's id, the caller's own if it can be one, and put it where all find it."""
    given = Request(scope).headers.get("x-request-id", "")
    request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
    scope.setdefault("state", {})["request_id"] = request_id
    clear_contextvars()
    bind_contextvars(request_id=request_id)
    return request_id


class _Body:
    """A request's body, which is read up to a bound."""

    def __init__(self, scope: Scope, receive: Receive, largest: int) -> None:
        """Refuse it at once if it is announced as larger than `largest` bytes."""
        announced = Request(scope).headers.get("content-length", "0")
        self._receive = receive
        self._announced = int(announced[:18]) if announced.isdigit() else 0
        #: Whether the app was told that it is too large.
        self.is_refused = False
        self.allow(largest)

    def allow(self, largest: int) -> None:
        """Set the bound anew, before anything is read: a route may stream more than fits memory."""
        self._largest = self._left = largest
        self._is_announced = self._announced > largest

    async def receive(self) -> Message:
        """Return the next message; PayloadTooLargeError past the bound."""
        message: Message = {} if self._is_announced else await self._receive()
        self._left -= len(message.get("body", b""))
        if self._is_announced or self._left < 0:
            self.is_refused = True
            raise PayloadTooLargeError(
                f"The request body is larger than {self._largest} bytes.",
                data={"largest": self._largest},
                headers={"Connection": "close"},
            )
        return message

    async def linger(self) -> None:
        """Throw away what still comes, for a while.

        A connection that is closed on bytes that nobody read is reset, and a caller who is still
        sending would meet the reset and not the answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                message = await self._receive()
                while message["type"] == "http.request" and message.get("more_body", False):
                    message = await self._receive()


def _too_large(scope: Scope) -> BadRequestError | None:
    """Return the refusal of headers that nobody needs, of which copies would be kept about."""
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size <= LARGEST_HEAD:
        return None
    return PayloadTooLargeError(
        f"The headers are larger than {LARGEST_HEAD} bytes.", data={"largest": LARGEST_HEAD}
    )


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


async def _answer(send: Send, error: VesicleError, request_id: str) -> None:
    """Answer without the app, which was not asked or could not."""
    body = orjson.dumps({**error.body(), "requestId": request_id})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), text.encode()) for name, text in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
