"""A call to an outside app: what is sent, what comes back, how the connection is used."""

from __future__ import annotations

import asyncio

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
        while not asked.is_over():  # noqa: ASYNC110 - a stream has no event for its end
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
