"""A call to an outside app: what is sent, what comes back, how the connection is used."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from runtime.connectors.client import OutboundRequest
from runtime.errors import ConfigurationError, ConnectionFailedError, InputInvalidError
from tests.unit.connectors.outside_app import reply


async def test_a_call_carries_method_query_headers_and_body(serve, connect):
    """The app gets what the request says, with the framing that the client adds."""
    app = await serve()
    request = OutboundRequest(
        "POST",
        app.url("/deals/ä?a=1"),
        {"X-Account": "acme"},
        {"stage": ["won", "lost"], "open": True, "none": None, "page": {"size": 2}},
    )

    response = await connect(app).send(request.with_json({"name": "Größe"}))

    asked = app.asked[0]
    assert (asked.method, asked.body) == ("POST", '{"name":"Größe"}'.encode())
    assert asked.target == "/deals/%C3%A4?a=1&stage=won&stage=lost&open=true&page[size]=2"
    assert asked.headers["host"] == f"127.0.0.1:{app.port}"
    assert asked.headers["x-account"] == "acme"
    assert asked.headers["content-type"] == "application/json"
    assert (response.status, response.data, response.size) == (200, {}, 2)
    assert 0 < response.elapsed < 5


async def test_a_form_is_url_encoded(serve, connect):
    """`with_form` writes what browsers write."""
    app = await serve()

    await connect(app).send(OutboundRequest("POST", app.url()).with_form({"a b": "c&d", "n": 1}))

    assert app.asked[0].body == b"a%20b=c%26d&n=1"
    assert app.asked[0].headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": [1, "x"]}', "application/json", {"a": [1, "x"]}),
        (b"[1]", "application/vnd.api+json; charset=utf-8", [1]),
        (b'"x"', "", "x"),
        (b"", "application/json", None),
        (b"<p>hi</p>", "text/html", "<p>hi</p>"),
        (b'{"a": 1', "application/json", '{"a": 1'),
        (b"<html>", "application/json", "<html>"),
        (b'{"a": NaN}', "application/json", '{"a": NaN}'),
        ("é".encode("latin-1"), "text/plain; charset=iso-8859-1", "é"),
        ("é".encode("latin-1"), "text/plain", "\ufffd"),
        (b'"\xff"', "application/json", '"\ufffd"'),
        (b"x", "text/plain; charset=zlib_codec", "x"),
        (b"x", "text/plain; charset=nonsense", "x"),
    ],
)
async def test_data_is_json_when_it_is_json_and_text_otherwise(
    body, content_type, expected, serve, connect
):
    """Whatever an app sends as a body, a run gets JSON or text, never an encoding error."""
    app = await serve(lambda *_: reply(body, content_type=content_type))

    response = await connect(app).send(OutboundRequest("GET", app.url()))

    assert response.data == expected


@pytest.mark.parametrize("depth", [128, 129, 5_000, 400_000])
async def test_json_that_nests_too_deep_stays_text(depth, serve, connect):
    """No answer can exhaust the stack of those who walk through it."""
    body = b"[" * depth + b"]" * depth
    app = await serve(lambda *_: reply(body))

    data = (await connect(app).send(OutboundRequest("GET", app.url()))).data

    assert isinstance(data, list if depth <= 128 else str)


async def test_json_of_too_many_values_stays_text(serve, connect):
    """Two bytes on the wire may cost 60 in memory; past a million values nobody pays that."""
    body = b"[" + b"[]," * 600_000 + b"[]]"
    app = await serve(lambda *_: reply(body))
    client = connect(app, max_response=3_000_000)

    assert isinstance((await client.send(OutboundRequest("GET", app.url()))).data, str)


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:])),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
        ("identity", lambda body: body),
    ],
)
async def test_compressed_answers_are_unpacked(coding, pack, serve, connect):
    """gzip and deflate in the forms that servers really send."""
    body = b'{"deals": [' + b'{"id": 1},' * 5000 + b"0]}"
    app = await serve(lambda *_: reply(pack(body), content_encoding=coding))

    response = await connect(app).send(OutboundRequest("GET", app.url()))

    assert len(response.data["deals"]) == 5001
    assert response.size == len(body)


async def test_connections_are_used_again(serve, connect):
    """Calls one after the other need one connection."""
    app = await serve()
    client = connect(app)

    for _ in range(5):
        await client.send(OutboundRequest("GET", app.url()))

    assert app.opened == 1


async def test_partitions_share_no_connection(serve, connect):
    """Who asks for sockets of its own gets them."""
    app = await serve()
    client = connect(app)

    for partition in ("acme", "globex", "acme"):
        await client.send(OutboundRequest("GET", app.url()), partition=partition)

    assert [asked.connection for asked in app.asked] == [0, 1, 0]


async def test_no_cookie_is_kept(serve, connect):
    """What an app sets for one tenant is never sent, nor shown, for another."""
    app = await serve(lambda *_: reply(b"{}", set_cookie="session=acme"))
    client = connect(app)

    first = await client.send(OutboundRequest("GET", app.url()))
    await client.send(OutboundRequest("GET", app.url()))

    assert "cookie" not in app.asked[1].headers
    assert "set-cookie" not in first.headers


async def test_a_head_request_gets_no_body(serve, connect):
    """The length in the answer to HEAD is of a body that never comes."""
    app = await serve(
        lambda asked, _: (
            reply(b"x" * 100).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            if asked.method == "HEAD"
            else reply(b"1")
        )
    )
    client = connect(app)

    head = await client.send(OutboundRequest("HEAD", app.url()))
    get = await client.send(OutboundRequest("GET", app.url()))

    assert (head.status, head.data, get.data) == (200, None, 1)


async def test_interim_answers_are_passed_by(serve, connect):
    """A 103 before the answer is not the answer."""
    hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    app = await serve(lambda *_: hint + hint + reply(b"1"))
    client = connect(app)

    responses = [await client.send(OutboundRequest("GET", app.url())) for _ in range(2)]

    assert [response.data for response in responses] == [1, 1]
    assert "link" not in responses[0].headers
    assert app.opened == 1


async def test_bodies_in_chunks_and_to_the_end_of_the_connection(serve, connect):
    """The three ways in which HTTP/1.1 ends a body all work."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    chunked = head + b"transfer-encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\nx: y\r\n\r\n"

    def answer(asked, writer):
        if asked.target == "/chunked":
            return chunked
        writer.write(head + b"connection: close\r\n\r\n[2]")
        return None

    app = await serve(answer)
    client = connect(app)

    first = await client.send(OutboundRequest("GET", app.url("/chunked")))
    second = await client.send(OutboundRequest("GET", app.url("/close")))
    third = await client.send(OutboundRequest("GET", app.url("/chunked")))

    assert [first.data, second.data, third.data] == [[1], [2], [1]]
    assert "x" not in first.headers


async def test_bytes_after_an_answer_are_no_answer_to_the_next_call(serve, connect):
    """A second answer that nobody asked for closes the connection; it reaches no other caller."""
    app = await serve(lambda *_: reply(b'"yours"') + reply(b'"poison"'))
    client = connect(app)

    data = [(await client.send(OutboundRequest("GET", app.url()))).data for _ in range(3)]

    assert data == ["yours"] * 3
    assert app.opened == 3


async def test_a_connection_that_died_idle_is_replaced(serve, connect):
    """An app that hangs up between calls costs nobody a failed call."""

    def answer(asked, writer):
        if app.opened == 1 and len(app.asked) == 2:
            writer.transport.abort()  # after it had kept the connection open
            return None
        return reply(b"1")

    app = await serve(answer)
    client = connect(app)
    await client.send(OutboundRequest("GET", app.url()))

    response = await client.send(OutboundRequest("GET", app.url()))

    assert response.data == 1
    assert (app.opened, len(app.asked)) == (2, 3)


async def test_a_call_that_may_have_had_an_effect_is_not_repeated(serve, connect):
    """A POST whose connection breaks is reported, because the app may have done it."""

    def answer(asked, writer):
        if asked.method == "POST":
            writer.transport.abort()
            return None
        return reply(b"1")

    app = await serve(answer)
    client = connect(app)
    await client.send(OutboundRequest("GET", app.url()))

    with pytest.raises(ConnectionFailedError) as caught:
        await client.send(OutboundRequest("POST", app.url()))

    assert caught.value.data["reason"] == "closed"
    assert [asked.method for asked in app.asked] == ["GET", "POST"]


async def test_cancelling_a_call_closes_its_connection(serve, connect):
    """A run that is stopped leaves nothing running at the app's side of the wire."""
    got_it, noticed = asyncio.Event(), asyncio.Event()

    async def answer(asked, writer):
        got_it.set()
        while not asked.is_over():
            await asyncio.sleep(0.01)
        noticed.set()

    app = await serve(answer)
    call = asyncio.create_task(connect(app, timeout=30).send(OutboundRequest("GET", app.url())))
    await asyncio.wait_for(got_it.wait(), 5)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await asyncio.wait_for(noticed.wait(), 2)


async def test_calls_beyond_the_cap_wait_for_a_connection(serve, connect):
    """Never more connections than allowed, and every call gets its turn."""
    most = 0

    async def answer(asked, writer):
        nonlocal most
        most = max(most, app.connected)
        await asyncio.sleep(0.01)
        return reply(b"1")

    app = await serve(answer)
    client = connect(app, max_connections=3)

    await asyncio.gather(*(client.send(OutboundRequest("GET", app.url())) for _ in range(30)))

    assert (most, len(app.asked)) == (3, 30)


async def test_a_thousand_calls_are_in_flight_at_once(serve, connect):
    """One process holds a thousand slow calls without making one wait for another."""
    waiting, everybody = 0, asyncio.Event()

    async def answer(asked, writer):
        nonlocal waiting
        waiting += 1
        if waiting == 1000:
            everybody.set()
        await everybody.wait()
        return reply(b"1")

    app = await serve(answer)
    client = connect(app, timeout=30)

    responses = await asyncio.gather(
        *(client.send(OutboundRequest("GET", app.url())) for _ in range(1000))
    )

    assert {response.data for response in responses} == {1}


@pytest.mark.parametrize(
    ("method", "headers", "error"),
    [
        ("GET\r\nx: y", {}, ConfigurationError),
        ("CONNECT", {}, ConfigurationError),
        ("TRACE", {}, ConfigurationError),
        ("GET", {"x\r\ny": "1"}, ConfigurationError),
        ("GET", {"x y": "1"}, ConfigurationError),
        ("GET", {"": "1"}, ConfigurationError),
        ("GET", {"Host": "globex.example"}, ConfigurationError),
        ("GET", {"content-LENGTH": "5"}, ConfigurationError),
        ("GET", {"Transfer-Encoding": "chunked"}, ConfigurationError),
        ("GET", {"x": "1\r\nhost: globex"}, InputInvalidError),
        ("GET", {"x": "1\ny"}, InputInvalidError),
        ("GET", {"x": "1\x00"}, InputInvalidError),
    ],
)
def test_nothing_breaks_out_of_its_place_in_a_request(method, headers, error):
    """A method or header that would write another request is refused when it is built."""
    with pytest.raises(error):
        OutboundRequest(method, "https://acme.example/", headers)


async def test_closing_ends_calls_in_flight(serve, connect):
    """A process that stops does not wait for apps."""
    got_it = asyncio.Event()

    async def answer(asked, writer):
        got_it.set()
        await asyncio.sleep(30)

    app = await serve(answer)
    client = connect(app, timeout=30)
    call = asyncio.create_task(client.send(OutboundRequest("GET", app.url())))
    await asyncio.wait_for(got_it.wait(), 5)

    await asyncio.wait_for(client.close(), 3)

    with pytest.raises(ConnectionFailedError):
        await call
