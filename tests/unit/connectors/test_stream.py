"""Bodies that are passed on while they come, in both directions."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runtime.connectors.client import OutboundRequest
from runtime.connectors.stream import StreamedBody
from runtime.errors import ConnectionFailedError
from tests.unit.connectors.outside_app import reply

BIG = 3_000_000


async def read(client, request, **more) -> bytes:
    async with client.stream(request, **more) as answer:
        return b"".join([chunk async for chunk in answer.body])


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


async def test_a_connection_serves_again_after_a_stream(serve, connect):
    """What was read to its end leaves the connection good for the next call, of either kind."""
    app = await serve(lambda *_: reply(b"x" * 100_000))
    client, request = connect(app), OutboundRequest("GET", app.url())

    for _ in range(3):
        assert await read(client, request) == b"x" * 100_000
    assert (await client.send(request)).size == 100_000
    assert app.opened == 1


async def test_what_is_left_unread_closes_its_connection(serve, connect):
    """Bytes of an answer that nobody took are never the next one's."""
    app = await serve(lambda *_: reply(b"x" * BIG))
    client, request = connect(app, max_response=BIG), OutboundRequest("GET", app.url())

    async with client.stream(request) as answer:
        assert answer.status == 200
    assert len(await read(client, request)) == BIG
    assert app.opened == 2


async def test_a_slow_reader_holds_the_app_back(serve, connect):
    """Of a large answer only a little is taken in while nobody reads it."""
    written = 0

    async def flood(asked, writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while written < 100_000_000 and not writer.is_closing():
                writer.write(b"x" * 65_536)
                await writer.drain()
                written += 65_536

    app = await serve(flood)
    client = connect(app, max_response=200_000_000)
    async with client.stream(OutboundRequest("GET", app.url())) as answer:
        before = -1
        while written != before:  # until TCP is full
            before = written
            await asyncio.sleep(0.1)
        assert written < 20_000_000
        assert answer.body.received < 2_000_000


async def test_a_body_of_known_length_is_sent_as_it_is(serve, connect):
    """The app gets the bytes and their number."""
    app = await serve()
    body = StreamedBody(pieces(b"ab", b"", b"c"), 3)

    await read(connect(app), OutboundRequest("POST", app.url()), body=body)

    assert app.asked[0].body == b"abc"
    assert "transfer-encoding" not in app.asked[0].headers


@pytest.mark.parametrize("length", [2, 4])
async def test_a_body_of_another_length_is_not_believed(length, serve, connect):
    """More or fewer bytes than announced end the call: the next request would start amid them."""
    app = await serve()
    body = StreamedBody(pieces(b"ab", b"c"), length)

    with pytest.raises(ConnectionFailedError) as caught:
        await read(connect(app), OutboundRequest("POST", app.url()), body=body)

    assert caught.value.data["reason"] == "request_body"


async def test_a_source_that_fails_ends_the_call(serve, connect):
    """What the source of a body raises comes out of the call, and the connection is closed."""

    async def broken():
        yield b"a"
        raise LookupError("gone")

    app = await serve()
    client, request = connect(app), OutboundRequest("POST", app.url())
    with pytest.raises(LookupError, match="gone"):
        await read(client, request, body=StreamedBody(broken(), 10))

    await asyncio.wait_for(app.ended.wait(), 5)


async def test_an_early_answer_stops_the_body(serve, connect):
    """An app that refuses before it has read everything is heard, and is sent no more."""

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b"no", "413 Too Large"))
        await writer.drain()
        await reader.read()
        writer.close()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    app = await serve()
    app.port = server.sockets[0].getsockname()[1]
    hold = asyncio.Event()

    async def endless():
        yield b"a" * 1000
        await hold.wait()

    client = connect(app)
    async with server:
        request = OutboundRequest("POST", app.url())
        async with client.stream(request, body=StreamedBody(endless())) as answer:
            assert answer.status == 413
        await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["short", "unended", "garbage"],
)
async def test_half_an_answer_is_no_answer(answer, serve, connect):
    """A body that breaks off is an error after the bytes that came, not an end."""

    async def half(asked, writer):
        writer.write(answer)

    app = await serve(half)
    with pytest.raises(ConnectionFailedError):
        await read(connect(app), OutboundRequest("GET", app.url()))


async def test_bounds_hold_while_streaming(serve, connect):
    """The size is bounded, announced or not, and so is the time until the last byte."""

    async def drip(asked, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not (asked.is_over() or writer.is_closing()):
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.02)

    slow, large = await serve(drip), await serve(lambda *_: reply(b"x" * 2000))
    with pytest.raises(ConnectionFailedError) as timed:
        await read(connect(slow, timeout=0.2), OutboundRequest("GET", slow.url()))
    with pytest.raises(ConnectionFailedError) as sized:
        await read(connect(large, max_response=1000), OutboundRequest("GET", large.url()))
    with pytest.raises(ConnectionFailedError) as grown:
        await read(connect(slow, max_response=5000), OutboundRequest("GET", slow.url()))

    reasons = [caught.value.data["reason"] for caught in (timed, sized, grown)]
    assert reasons == ["timeout", "too_large", "too_large"]


async def test_a_dead_connection_is_replaced_once(serve, connect):
    """A kept connection that the app has closed costs a read nothing."""
    app = await serve(lambda *_: reply(b"{}", connection="keep-alive"))
    client, request = connect(app), OutboundRequest("GET", app.url())
    assert await read(client, request) == b"{}"

    async def hang_up(asked, writer):
        writer.transport.abort()

    app.answer = hang_up
    with pytest.raises(ConnectionFailedError):
        await read(client, request)
    assert app.opened == 2


async def test_an_app_that_reads_slowly_holds_the_sender_back(serve, connect):
    """Of a large body only a little is taken from its source while the app does not read it."""
    go_on, given = asyncio.Event(), 0

    async def take(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await go_on.wait()
        while not (await reader.readuntil(b"\n")).startswith(b"0\r"):
            pass
        writer.write(reply(b"{}"))
        await writer.drain()
        writer.close()

    async def source():
        nonlocal given
        for _ in range(500):
            given += 1
            yield b"x" * 65_536 + b"\n"

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=1 << 20)
    app = await serve()
    app.port = server.sockets[0].getsockname()[1]
    async with server:
        request = OutboundRequest("POST", app.url())
        call = asyncio.create_task(read(connect(app), request, body=StreamedBody(source())))
        before = -1
        while given != before:  # until TCP is full
            before = given
            await asyncio.sleep(0.1)
        assert 0 < given < 200
        go_on.set()
        assert await call == b"{}"
    assert given == 500
