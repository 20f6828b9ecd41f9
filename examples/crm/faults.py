"""Routes that misbehave on purpose, one way each, so that a caller's limits can be tested."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Route

from examples.crm.wire import refuse, validate, whole_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

__all__ = ["fault_routes"]

_CHUNK = 65_536  # bytes written at a time
_BODILESS = (204, 205, 304)


class _Query(BaseModel):
    """The parameters that some faults take."""

    code: int = Field(default=500, ge=200, le=599)
    seconds: float = Field(default=5, ge=0, le=3600, allow_inf_nan=False)
    bytes: int | None = Field(default=None, ge=0, le=10**11)
    to: str | None = Field(default=None, min_length=1)
    retry_after: str = Field(default="1", pattern=r"^[ -~]*$")  # printable ASCII: it is a header
    times: int = Field(default=1, ge=0, le=1000)
    of: str = Field(default="", max_length=200)


def fault_routes() -> list[BaseRoute]:
    """All routes under `/faults`."""
    faults: dict[str, Callable[[Request], Coroutine[None, None, Response]]] = {
        "status/{code}": _status,
        "slow": _slow,
        "hang": _hang,
        "drip": _drip,
        "html": _html,
        "big": _big,
        "gzip-bomb": _gzip_bomb,
        "redirect": _redirect,
        "redirect-loop": _redirect_loop,
        "broken-json": _broken_json,
        "rate-limit": _rate_limit,
        "recovering/{code}": _Recovering().answer,
        "reset": _reset,
        "echo": _echo,
    }
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route(f"/faults/{path}", fault, methods=methods) for path, fault in faults.items()]


def _query(request: Request) -> _Query:
    return validate(_Query, {**request.query_params, **request.path_params})


async def _status(request: Request) -> Response:
    code = _query(request).code
    if code in _BODILESS:
        return Response(status_code=code)
    return JSONResponse({"error": {"code": f"fault_{code}", "message": "As you asked."}}, code)


async def _slow(request: Request) -> Response:
    """Answer late, or never to a caller that leaves first."""
    seconds = _query(request).seconds
    try:
        async with asyncio.timeout(seconds):
            await _disconnected(request.receive)
    except TimeoutError:
        return JSONResponse({"seconds": seconds})
    return _Silence()


async def _hang(request: Request) -> Response:  # noqa: ARG001 -- a route's shape
    return _Silence()


async def _drip(request: Request) -> Response:
    """One byte a second: valid JSON if anybody has the patience, an hour by default."""

    async def drops(count: int) -> AsyncIterator[bytes]:
        for position in range(count):
            yield b"0" if position == count - 1 else b" "
            await asyncio.sleep(1)

    size = _query(request).bytes
    count = 3600 if size is None else size
    return StreamingResponse(drops(count), media_type="application/json")


async def _html(request: Request) -> Response:  # noqa: ARG001 -- a route's shape
    return HTMLResponse("<!doctype html><title>CRM</title><h1>Down for maintenance</h1>")


async def _big(request: Request) -> Response:
    """Stream as much as was asked for, 100 MB by default, without saying so beforehand."""

    async def stream(size: int) -> AsyncIterator[bytes]:
        for chunk in _blank_json(size, _CHUNK):
            yield chunk
            await asyncio.sleep(0)  # others get their turn even if the reader keeps up

    size = _query(request).bytes
    body = stream(100_000_000 if size is None else size)
    return StreamingResponse(body, media_type="application/json")


async def _gzip_bomb(request: Request) -> Response:
    """One GB by default that travels as one MB."""

    def stream(size: int) -> Iterator[bytes]:
        gzip = zlib.compressobj(wbits=31)  # 31: the gzip container
        for chunk in _blank_json(size, 16 * _CHUNK):
            if squeezed := gzip.compress(chunk) + gzip.flush(zlib.Z_SYNC_FLUSH):
                yield squeezed
        yield gzip.flush()

    size = _query(request).bytes
    body = stream(1_000_000_000 if size is None else size)  # runs in a thread: it uses the CPU
    headers = {"Content-Encoding": "gzip"}
    return StreamingResponse(body, headers=headers, media_type="application/json")


async def _redirect(request: Request) -> Response:
    target = _query(request).to
    if target is None:
        raise refuse(422, "validation_failed", "Say where to: ?to=URL.")
    return RedirectResponse(target, 302)


async def _redirect_loop(request: Request) -> Response:
    return RedirectResponse(request.url.path, 302)


async def _broken_json(request: Request) -> Response:  # noqa: ARG001 -- a route's shape
    return Response('{"deals": [{"id": "acme-deal-1", ', media_type="application/json")


async def _rate_limit(request: Request) -> Response:
    headers = {"Retry-After": _query(request).retry_after}
    return refuse(429, "rate_limited", "Too many requests.", headers=headers).response()


class _Recovering:
    """Fails the first `times` calls of each `of` with a status, and is well after that."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}

    async def answer(self, request: Request) -> Response:
        asked = _query(request)
        left = self._left.get(asked.of, asked.times)
        self._left[asked.of] = left - 1
        if left <= 0:
            return JSONResponse({"failed": asked.times})
        named = "retry_after" in request.query_params
        headers = {"Retry-After": asked.retry_after} if named else {}
        return refuse(asked.code, "not_yet", "Come again.", headers=headers).response()


async def _reset(request: Request) -> Response:
    """Drop the connection with a TCP reset."""
    transport: asyncio.Transport = request.scope["extensions"]["crm.transport"]["transport"]
    connection: socket.socket = transport.get_extra_info("socket")
    # Lingering for zero seconds makes the close a reset (RST), not a polite end (FIN).
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return _Silence()


async def _echo(request: Request) -> Response:
    """Say what arrived: header names in lower case, repeats joined by a comma."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "headers": headers,
            "query": dict(request.query_params),
            "queryString": request.url.query,
            "body": (await whole_body(request)).decode(errors="replace"),
        }
    )


class _Silence(Response):
    """No answer at all; ends when the caller is gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's shape
        await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _blank_json(size: int, chunk: int) -> Iterator[bytes]:
    """`size` bytes of valid JSON: blanks and a zero, so that only the size is wrong with it."""
    blanks = b" " * chunk
    for _ in range((size - 1) // chunk):
        yield blanks
    if size:
        yield blanks[: (size - 1) % chunk] + b"0"
