"""One HTTP/1.1 connection: writes a request, reads its answer, says whether it can be used again.

llhttp (through httptools) reads the protocol (RFC 9112); the limits are ours. httpx2 needed
2,800 µs of CPU for a call with 1,000 in flight (its pool looks at every connection for every call)
and httpcore2's bare connection 160 µs; this one needs about 30 µs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import httptools

from runtime.connectors.body import BodyReader, ExchangeError, too_large
from runtime.connectors.stream import BodyStream, Opened

__all__ = ["HttpConnection", "Reply"]

#: Most bytes of a status line and headers, those of interim answers and trailers included.
MAX_HEAD = 65_536
#: Framing of chunks may weigh this many times the body: one-byte chunks weigh five times theirs.
_FRAMING = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers by lower-case name (repeated ones joined by comma), whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpConnection(asyncio.Protocol):
    """Carries one exchange at a time; whatever comes unasked for closes it.

    So nothing of one exchange can be taken for the answer to the next, whoever asks it.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        #: Set when the transport is gone.
        self.closed: asyncio.Future[None] = loop.create_future()
        #: When the connection became idle, in the loop's seconds.
        self.idle_since = 0.0
        #: How many exchanges it has finished.
        self.served = 0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._reusable = True
        self._body: BodyReader | BodyStream | None = None
        self._stream: BodyStream | None = None
        self._opened: asyncio.Future[Opened] | None = None
        self._sending: asyncio.Task[None] | None = None
        #: What a writer waits for while the transport has more than it wants.
        self._room: asyncio.Future[None] | None = None
        self._parser: httptools.HttpResponseParser
        self._bodiless = False
        self._reset()

    # --- what the pool and the client use ---

    @property
    def is_reusable(self) -> bool:
        """Tell whether another exchange can follow."""
        return self._reusable and not self.closed.done()

    @property
    def was_silent(self) -> bool:
        """Tell whether not one byte of an answer has come since the request was written."""
        return self._seen == 0

    async def exchange(self, request: bytes, *, bodiless: bool, limit: int) -> Reply:
        """Write a request and return its answer, of at most `limit` bytes of body.

        `bodiless` is for HEAD, whose answer has none whatever it says. Raises ExchangeError.
        When it is cancelled, the connection is closed at once.
        """
        transport, waiter = self._start(bodiless=bodiless, limit=limit)
        transport.write(request)
        try:
            reply = await waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
        self._served()
        return reply

    async def open(
        self, request: bytes, body: AsyncIterator[bytes] | None, *, bodiless: bool, limit: int
    ) -> Opened:
        """Write a request and return its answer as soon as the headers are there.

        `body` is sent meanwhile, and what it raises ends the exchange. Whoever opened it ends it by
        `leave`, whether or not the answer was read to its end. Raises ExchangeError.
        """
        transport, waiter = self._start(bodiless=bodiless, limit=limit)
        self._stream = BodyStream(limit, transport)
        self._opened = self._loop.create_future()
        waiter.add_done_callback(self._ended)
        transport.write(request)
        if body is not None:
            self._sending = self._loop.create_task(self._send(body))
        try:
            return await self._opened
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """End what `open` began; the connection can be used again if nothing is left of it."""
        sending, stream = self._sending, self._stream
        is_whole = stream is not None and stream.is_over and self._waiter is None
        if sending is not None and not sending.done():
            sending.cancel()
            is_whole = False  # answered before it had read the request
        if not is_whole:
            self.abort()
        self._sending = self._stream = self._opened = None

    def abort(self) -> None:
        """Close now, without waiting for what is unsent."""
        self._reusable = False
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; without a question it is no answer."""
        if not self._is_waiting():
            self.abort()
            return
        self._seen += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ExchangeError("protocol", "The outside app's answer is not valid HTTP."))
            return
        body = self._body.received if self._body is not None else 0
        if self._seen - body > MAX_HEAD + _FRAMING * body and self._is_waiting():
            self._fail(_head_too_large())

    def pause_writing(self) -> None:
        """Have writers wait: the app reads more slowly than they write."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: by the end of the body if it runs to the end, else by an error."""
        if self._body is not None and self._until_close and exc is None:
            self._finish()
        self._fail(ExchangeError("closed", "The outside app closed the connection."))
        self._reusable = False
        self.resume_writing()
        if not self.closed.done():
            self.closed.set_result(None)

    # --- httptools ---

    def on_message_begin(self) -> None:
        """Notice a second answer to one request; the connection cannot be trusted after that."""
        if not self._is_waiting():
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; after the body it is a trailer, which counts but is not kept."""
        self._head += len(name) + len(value)
        if self._head > MAX_HEAD:
            self._fail(_head_too_large())
        elif self._body is None:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Decide from the headers how the body will come."""
        self._status = self._parser.get_status_code()
        if self._status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._fail(ExchangeError("protocol", "The outside app changed the protocol."))
        if not self._is_waiting() or self._status < HTTPStatus.OK:
            return
        length = self._headers.get("content-length", "")
        chunked = "chunked" in self._headers.get("transfer-encoding", "").lower()
        self._until_close = not (length or chunked)
        coding = "" if self._bodiless else self._headers.get("content-encoding", "")
        try:
            self._body = self._stream or BodyReader(coding, self._limit)
            if not self._bodiless and length.isdigit() and int(length) > self._limit:
                raise too_large(self._limit)
            if self._stream is not None and self._opened is not None:
                self._opened.set_result(Opened(self._status, self._headers, self._stream))
            if self._bodiless:
                self._reusable = False  # the parser now waits for a body that will not come
                self._finish()
        except ExchangeError as error:
            self._fail(error)

    def on_body(self, chunk: bytes) -> None:
        """Add to the body."""
        if self._is_waiting() and self._body is not None:
            try:
                self._body.feed(chunk)
            except ExchangeError as error:
                self._fail(error)

    def on_message_complete(self) -> None:
        """Hand the answer over; an interim one (1xx) is passed by."""
        if self._body is None:
            self._headers.clear()
        else:
            self._reusable = self._reusable and self._parser.should_keep_alive()
            self._finish()

    # --- inside ---

    def _reset(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = None
        self._status = self._head = self._seen = self._limit = 0
        self._bodiless = self._until_close = False

    def _start(
        self, *, bodiless: bool, limit: int
    ) -> tuple[asyncio.Transport, asyncio.Future[Reply]]:
        if self._transport is None or not self.is_reusable:
            raise ExchangeError("closed", "The outside app closed the connection.")
        self._reset()
        self._bodiless, self._limit = bodiless, limit
        self._parser = httptools.HttpResponseParser(self)
        self._waiter = self._loop.create_future()
        return self._transport, self._waiter

    def _served(self) -> None:
        self.served += 1
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._reusable = False  # answered before it had read the request

    async def _send(self, body: AsyncIterator[bytes]) -> None:
        assert self._transport is not None  # noqa: S101 - an exchange has begun
        try:
            async for chunk in body:
                if self._transport.is_closing():
                    return
                self._transport.write(chunk)
                if (room := self._room) is not None:
                    await room
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
            self._fail(error)

    def _ended(self, waiter: asyncio.Future[Reply]) -> None:
        """Tell whoever reads a stream that the exchange is over."""
        if waiter is not self._waiter:
            return
        self._waiter = None
        error = None if waiter.cancelled() else waiter.exception()
        if error is None:
            self._served()
        elif self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        if self._stream is not None:
            self._stream.end(error)

    def _is_waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _finish(self) -> None:
        if self._waiter is None or self._waiter.done() or self._body is None:
            return
        try:
            self._waiter.set_result(Reply(self._status, self._headers, self._body.finish()))
        except ExchangeError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._reusable = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


def _head_too_large() -> ExchangeError:
    return ExchangeError("too_large", f"The outside app's headers exceed {MAX_HEAD} bytes.")
