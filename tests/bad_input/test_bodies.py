"""Bodies that are too large, too slow or cut off, over a real connection; and our own crashes."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import orjson
import pytest
import uvicorn
from structlog.testing import capture_logs

from runtime.api.serving import Http
from runtime.tenants.tokens import mint
from tests.bad_input.conftest import check_envelope

_CHUNK = b"x" * 65_536


@pytest.fixture(scope="module")
async def server(app):
    """The API behind the server that production uses; yields its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Http, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    with listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield listening.getsockname()[1]
        server.should_exit = True
        await task


@pytest.fixture
async def connection(server, shop):
    """An open connection to the API, and the header that signs acme in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server)
    token = mint(shop.workspace.key, shop.workspace.secret, tenant_key="acme")
    yield reader, writer, f"Host: api\r\nAuthorization: Bearer {token}\r\n".encode()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _answer(reader) -> tuple[int, dict[str, str], dict]:
    """Read an answer: status, headers, body."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
    }
    body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 10)
    return int(head[0].split()[1]), headers, orjson.loads(body)


async def _push(writer, size: int, frame) -> None:
    """Send that many bytes, for as long as the other side takes them."""
    with contextlib.suppress(ConnectionError):
        for _ in range(size // len(_CHUNK)):
            writer.write(frame(_CHUNK))
            await writer.drain()


def _is_too_large(answer) -> bool:
    status, headers, body = answer
    assert status == 413
    assert (body["type"], body["key"]) == ("bad_request", "payload_too_large")
    assert body["requestId"] == headers["x-request-id"]
    assert body["data"] == {"largest": 10_000_000}
    return headers["connection"] == "close"


@pytest.mark.parametrize("path", [b"/act", b"/actions/none/run", b"/connections", b"/limits"])
async def test_a_body_that_says_it_is_too_large(connection, path):
    """A body that is announced as too large is refused before it is read."""
    reader, writer, headers = connection
    writer.write(
        b"POST " + path + b" HTTP/1.1\r\n" + headers + b"Content-Length: 12000000\r\n\r\n{"
    )
    answer = await _answer(reader)
    # Of a manager's route a tenant learns just that.
    assert answer[0] == 403 if path == b"/limits" else _is_too_large(answer)


async def test_a_body_that_is_too_large(connection):
    """A body of 12 MB is answered with 413 while it is still being sent."""
    reader, writer, headers = connection
    writer.write(b"POST /act HTTP/1.1\r\n" + headers + b"Content-Length: 12000000\r\n\r\n")
    sending = asyncio.create_task(_push(writer, 12_000_000, bytes))
    assert _is_too_large(await _answer(reader))
    sending.cancel()


async def test_a_body_of_unknown_length_that_is_too_large(connection):
    """A chunked body, which announces no length, is refused as soon as it is too large."""
    reader, writer, headers = connection
    writer.write(b"POST /act HTTP/1.1\r\n" + headers + b"Transfer-Encoding: chunked\r\n\r\n")
    sending = asyncio.create_task(
        _push(writer, 60_000_000, lambda chunk: b"%x\r\n%s\r\n" % (len(chunk), chunk))
    )
    assert _is_too_large(await _answer(reader))
    sending.cancel()


async def test_a_body_just_within_the_bounds(connection):
    """A body of almost 10 MB is read, and refused only for what it says."""
    reader, writer, headers = connection
    body = b'{"key": "none", "input": "' + b"x" * 9_900_000 + b'"}'
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    writer.write(b"POST /act HTTP/1.1\r\n" + headers + length + body)
    status, _, answer = await _answer(reader)
    assert (status, answer["key"]) == (404, "not_found")


async def test_headers_that_are_too_large(connection):
    """More headers than anybody needs are refused before anything is looked up."""
    reader, writer, headers = connection
    large = b"X-Large: " + b"x" * 70_000 + b"\r\n\r\n"
    writer.write(b"GET /runs HTTP/1.1\r\n" + headers + large)
    status, _, body = await _answer(reader)
    assert (status, body["key"]) == (413, "payload_too_large")
    assert body["data"] == {"largest": 65_536}


async def test_a_header_without_end(connection):
    """A header that goes on and on is not kept in memory: the connection ends."""
    reader, writer, headers = connection
    writer.write(b"GET /runs HTTP/1.1\r\n" + headers + b"X-Large: ")
    sending = asyncio.create_task(_push(writer, 20_000_000, bytes))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 400 ")
    sending.cancel()


async def test_a_caller_who_hangs_up(connection, shop, next_door):
    """A body that ends before its length leaves nothing behind and disturbs nobody."""
    _, writer, headers = connection
    writer.write(b"POST /act HTTP/1.1\r\n" + headers + b'Content-Length: 500\r\n\r\n{"key"')
    await writer.drain()
    with capture_logs() as logs:
        writer.transport.abort()
        for _ in range(3):
            assert (await shop.acme.get("/runs?limit=1")).status_code == 200
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_our_own_crash_shows_nothing(shop, monkeypatch):
    """An exception that nobody expected is a 500 with a request id, and its text is not shown."""

    async def crash(*_, **__):
        message = "canary: postgresql://owner:secret@127.0.0.1/vesicle"
        raise ZeroDivisionError(message)

    services = shop.acme._transport.app.state.services
    monkeypatch.setattr(type(services.submission), "submit", crash)
    with capture_logs() as logs:
        answer = await shop.run("list-deals", {})
    body = check_envelope(answer, 500, "internal", None)
    assert "canary" not in answer.text
    (crashed,) = [line for line in logs if line["event"] == "request.crashed"]
    assert crashed["error"] == "ZeroDivisionError"
    assert body["requestId"] == answer.headers["x-request-id"]


async def test_request_ids(shop):
    """A caller's own request id is kept if it is a harmless one, else replaced."""
    given = await shop.acme.get("/runs/x", headers={"X-Request-Id": "trace-17"})
    assert check_envelope(given, 404)["requestId"] == "trace-17"
    hostile = await shop.acme.get("/runs/x", headers={"X-Request-Id": "a b<script>"})
    assert "script" not in check_envelope(hostile, 404)["requestId"]
