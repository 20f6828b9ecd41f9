"""A body that is passed on while it arrives, so that none is held in memory.

What the reader has not taken yet is bounded: past the mark the connection is not read any more, and
TCP tells the app to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from runtime.connectors.body import ExchangeError, too_large

__all__ = ["BodyStream", "Opened", "StreamedBody"]

#: Bytes that wait for the reader before the connection is no longer read.
_HIGH = 1 << 18


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """A request's body that is sent while it comes."""

    chunks: AsyncIterator[bytes]
    #: Bytes of the whole, if that is known; else it is sent in chunks (RFC 9112 §7.1).
    length: int | None = None

    async def framed(self) -> AsyncIterator[bytes]:
        """Yield what goes on the wire. Raises ExchangeError for more or less than `length`."""
        sent = 0
        async for chunk in self.chunks:
            if not chunk:
                continue
            sent += len(chunk)
            if self.length is None:
                yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
            elif sent <= self.length:
                yield chunk
            else:
                break
        if self.length is None:
            yield b"0\r\n\r\n"
        elif sent != self.length:
            raise ExchangeError("request_body", "The request's body is not as long as it said.")


class BodyStream:
    """The body of an answer, chunk by chunk, as it came over the wire: still compressed."""

    def __init__(self, limit: int, transport: asyncio.ReadTransport) -> None:
        """Take at most `limit` bytes in all; hold the transport back while nobody reads."""
        self._limit = limit
        self._transport = transport
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._is_paused = False
        self._error: BaseException | None = None
        self._wake: asyncio.Future[None] | None = None
        #: Bytes that came over the wire.
        self.received = 0
        #: Whether all of it has come, or will not come any more.
        self.is_over = False

    def feed(self, chunk: bytes) -> None:
        """Add what came. Raises ExchangeError past the limit."""
        self.received += len(chunk)
        if self.received > self._limit:
            raise too_large(self._limit)
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held > _HIGH and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._awake()

    def finish(self) -> bytes:
        """Return nothing: who reads has had it all, or will."""
        return b""

    def end(self, error: BaseException | None) -> None:
        """Say that no more comes, and why if that is wrong."""
        if not self.is_over:
            self.is_over, self._error = True, error
            self._awake()

    def __aiter__(self) -> Self:
        """Read it once."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk. Raises what ended it early."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.is_over:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        chunk = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return chunk

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose body is still to come."""

    status: int
    #: By lower-case name; repeated ones joined by comma. Cookies are among them.
    headers: dict[str, str] = field(repr=False)
    #: As it comes over the wire, still in its Content-Encoding.
    body: BodyStream = field(repr=False)
