"""Apps that are slow, huge, broken or malicious: every call ends in bounded time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
import tracemalloc
import zlib

import pytest

from runtime.connectors.client import OutboundRequest
from runtime.connectors.egress import UNREACHABLE
from runtime.errors import ConnectionFailedError
from tests.unit.connectors.outside_app import reply

HEAD = b"HTTP/1.1 200 OK\r\n"
CAP = 1_000_000


#: Made once: to pack fifty megabytes takes longer than to find them out.
BOMB, RAW_BOMB = gzip.compress(bytes(50 * CAP)), zlib.compress(bytes(50 * CAP))


async def failure(client, app) -> ConnectionFailedError:
    with pytest.raises(ConnectionFailedError) as caught:
        await client.send(OutboundRequest("GET", app.url("/deals?api_key=hidden")))
    assert type(caught.value) is ConnectionFailedError
    assert caught.value.data["request"]["url"].endswith("/deals?api_key=[redacted]")
    return caught.value


def forever(piece: bytes, *, pause: float = 0.0, start: bytes = b""):
    """Return an answer that goes on until the client hangs up."""

    async def answer(asked, writer):
        writer.write(start)
        with contextlib.suppress(ConnectionError):
            while not (writer.is_closing() or asked.is_over()):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)

    return answer


TAR_PITS = {
    "never answers": forever(b"", pause=0.05),
    "a header byte at a time": forever(b"x", pause=0.02, start=HEAD),
    "a body byte at a time": forever(
        b"x", pause=0.02, start=HEAD + b"content-length: 100000\r\n\r\n"
    ),
    "a chunk at a time": forever(
        b"1\r\nx\r\n", pause=0.02, start=HEAD + b"transfer-encoding: chunked\r\n\r\n"
    ),
    "interim answers without end": forever(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.02),
}


@pytest.mark.parametrize("answer", TAR_PITS.values(), ids=TAR_PITS.keys())
async def test_the_deadline_is_for_the_whole_call(answer, serve, connect):
    """Being busy does not buy an app more time, and the connection is closed at the end."""
    app = await serve(answer)
    started = time.monotonic()

    error = await failure(connect(app, timeout=0.3), app)

    assert 0.25 < time.monotonic() - started < 1.3
    assert error.data["reason"] == "timeout"
    assert error.message == "The outside app did not answer within 0.3 seconds."
    await asyncio.wait_for(app.ended.wait(), 5)


FLOODS = {
    "a large length": lambda *_: HEAD + b"content-length: 5000000000\r\n\r\n",
    "a large body": lambda *_: reply(b"x" * (CAP + 1)),
    "chunks without end": forever(
        b"1000\r\n" + b"x" * 4096 + b"\r\n", start=HEAD + b"transfer-encoding: chunked\r\n\r\n"
    ),
    "a body without end": forever(b"x" * 4096, start=HEAD + b"\r\n"),
    "headers without end": forever(b"x: y\r\n", start=HEAD),
    "a header without end": forever(b"x" * 4096, start=HEAD + b"x: "),
    "a header name without end": forever(b"x" * 4096, start=HEAD),
    "a status line without end": forever(b"x" * 4096, start=b"HTTP/1.1 200 "),
    "interim answers without end": forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers without end": forever(
        b"x: y\r\n", start=HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    ),
    "a chunk's extension without end": forever(
        b"x" * 4096, start=HEAD + b"transfer-encoding: chunked\r\n\r\n1;"
    ),
    "a gzip bomb": lambda *_: reply(BOMB, content_encoding="gzip"),
    "a deflate bomb": lambda *_: reply(RAW_BOMB, content_encoding="deflate"),
    "a bomb in many members": lambda *_: reply(
        gzip.compress(bytes(CAP // 2)) * 20, content_encoding="gzip"
    ),
}


@pytest.mark.parametrize("answer", FLOODS.values(), ids=FLOODS.keys())
async def test_no_answer_takes_more_than_its_share(answer, serve, connect):
    """A flood ends at the cap, long before the deadline, and leaves no memory behind."""
    app = await serve(answer)
    client = connect(app, timeout=10, max_response=CAP)
    started = time.monotonic()
    tracemalloc.start()
    try:
        error = await failure(client, app)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert error.data["reason"] in ("too_large", "protocol")
    assert time.monotonic() - started < 5
    assert peak < 8 * CAP  # the server's side of it is in this process too


async def test_the_ratio_of_compression_is_capped_below_the_size(serve, connect):
    """A body that fits but was packed a thousand times is a bomb that is still small."""
    app = await serve(lambda *_: reply(BOMB, content_encoding="gzip"))

    error = await failure(connect(app, max_response=100 * CAP), app)

    assert error.data["reason"] == "too_large"
    assert "compressed too far" in error.message


BROKEN = {
    "no HTTP at all": lambda *_: b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/0.9": lambda *_: b"<html>hello</html>",
    "a status that is no number": lambda *_: b"HTTP/1.1 abc OK\r\n\r\n",
    "two lengths": lambda *_: HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "a length and chunks": lambda *_: (
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a negative length": lambda *_: HEAD + b"content-length: -1\r\n\r\n",
    "a chunk of no size": lambda *_: HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "a change of protocol": lambda *_: (
        b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    ),
    "broken gzip": lambda *_: reply(b"not gzip", content_encoding="gzip"),
    "half of a gzip": lambda *_: reply(gzip.compress(b"[1]")[:-4], content_encoding="gzip"),
    "gzip and more": lambda *_: reply(gzip.compress(b"[1]") + b"!", content_encoding="gzip"),
    "a coding nobody asked for": lambda *_: reply(b"x", content_encoding="br"),
    "two codings": lambda *_: reply(b"x", content_encoding="gzip, gzip"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_not_http_is_said_to_be_that(answer, serve, connect):
    """A broken answer is an error of its own and never half a result."""
    app = await serve(answer)

    error = await failure(connect(app), app)

    assert error.data["reason"] == "protocol"


@pytest.mark.parametrize(
    "part",
    [
        b"",
        HEAD,
        HEAD + b"content-length: 10\r\n\r\nabc",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab",
    ],
)
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_an_answer_that_breaks_off_is_no_answer(part, reset, serve, connect):
    """Less than was announced is an error, however the connection ended."""

    async def answer(asked, writer):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)
        if reset:
            writer.transport.abort()

    app = await serve(answer)

    assert (await failure(connect(app), app)).data["reason"] == "closed"


async def test_an_app_that_is_not_there(serve, connect):
    """A port on which nobody listens."""
    app = await serve()
    client = connect(app)
    app.port = 1
    other = connect(app)

    error = await failure(other, app)

    assert (error.message, error.data["reason"]) == (UNREACHABLE, "unreachable")
    await client.close()


async def test_one_hostile_app_does_not_slow_another(serve, connect):
    """While fifty calls hang in a tar pit, another app answers at once."""
    pit, crm = await serve(TAR_PITS["a body byte at a time"]), await serve()
    client = connect(pit, crm, timeout=2)
    hanging = [asyncio.create_task(failure(client, pit)) for _ in range(50)]
    await asyncio.sleep(0.1)
    started = time.monotonic()

    await client.send(OutboundRequest("GET", crm.url()))

    assert time.monotonic() - started < 0.5
    await asyncio.gather(*hanging)
