"""Answers whether a process lives, is ready, and how it does, on a port of its own.

Just enough HTTP for probes: GET /health/live, /health/ready and /metrics, one answer a connection.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["serve_health"]

#: Seconds that a probe has to say what it wants, and bytes in which it has to say it.
_PATIENCE, _LONGEST = 5.0, 8192
#: A machine's processes share one setting: each takes the first free port from there on.
_PORTS = 32


@asynccontextmanager
async def serve_health(port: int, ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Serve on 127.0.0.1 from `port` on, 0 for any free one; yields the port it got.

    `ready` says whether the process can be given work; live it is as long as its loop turns.
    Raises OSError if no port is free.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
            writer.write(_reply(request, ready))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a probe that does not ask properly gets no answer
        finally:
            writer.close()

    server = await _listen(answer, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _listen(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], port: int
) -> asyncio.Server:
    candidates = range(port, port + _PORTS) if port else range(1)
    for candidate in candidates:
        try:
            return await asyncio.start_server(answer, "127.0.0.1", candidate, limit=_LONGEST)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == candidates[-1]:
                raise
    raise AssertionError("unreachable: the last candidate returns or raises")


def _reply(request: bytes, ready: Callable[[], bool]) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    if method != b"GET":
        return _response("405 Method Not Allowed", b"only GET\n")
    if path == b"/health/live":
        return _response("200 OK", b"live\n")
    if path == b"/health/ready":
        if ready():
            return _response("200 OK", b"ready\n")
        return _response("503 Service Unavailable", b"not ready\n")
    if path == b"/metrics":
        return _response("200 OK", generate_latest(), CONTENT_TYPE_LATEST)
    return _response("404 Not Found", b"nothing here\n")


def _response(status: str, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
