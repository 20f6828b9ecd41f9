"""Answers that go on: Server-Sent Events, until there is nothing more to say or a reason to stop.

A stream ends when its source does, when the caller leaves or its token does, when the process
stops, and when the caller takes what it is sent too slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runtime.errors import VesicleError

__all__ = ["EventStream", "event"]

log = structlog.get_logger()

#: Seconds without an event after which something is sent all the same, so that the connection is
#: kept by what lies between; and for which one send may be held up by the caller.
HEARTBEAT, PATIENCE = 15.0, 30.0
_STILL_HERE = b": still here\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def event(data: Any, *, name: str | None = None, id: str | None = None) -> bytes:  # noqa: A002 - the format's word
    """Return one event as it goes over the wire; without a name it is a plain message."""
    lines = [f"id: {id}\n" if id else "", f"event: {name}\n" if name else ""]
    body = orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return "".join(lines).encode() + b"data: " + body + b"\n\n"


class EventStream(Response):
    """Sends events for as long as `until` does not return."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        until: Callable[[], Awaitable[None]],
        closed: Callable[[], None],
    ) -> None:
        """Take what yields events, what returns when the stream has to end, and its epilogue."""
        super().__init__()
        self._events = events
        self._until = until
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Serve the stream."""
        ends: list[asyncio.Task[None]] = []
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            ends = [
                asyncio.create_task(each)
                for each in (self._pump(send), _left(receive), _awaited(self._until))
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            await self._events.aclose()
            self._closed()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(1):
                await send({"type": "http.response.body", "body": b""})

    async def _pump(self, send: Send) -> None:
        try:
            async for chunk in _with_heartbeats(self._events):
                async with asyncio.timeout(PATIENCE):
                    message = {"type": "http.response.body", "body": chunk, "more_body": True}
                    await send(message)
        except TimeoutError:
            log.info("live.too_slow")
        except VesicleError as error:
            log.info("live.ended", error=type(error).__name__)
        except Exception as error:
            log.exception("live.crashed", error=type(error).__name__)


async def _with_heartbeats(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield events, and a sign of life whenever none came for a while."""
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=HEARTBEAT)
            if not done:
                yield _STILL_HERE
                continue
            if (chunk := following.result()) is None:
                return
            yield chunk
            following = asyncio.ensure_future(anext(events, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _awaited(until: Callable[[], Awaitable[None]]) -> None:
    await until()
