"""Redirects: followed by us, each hop checked, credentials only where they belong."""

from __future__ import annotations

import pytest

from runtime.connectors.client import OutboundRequest
from runtime.errors import ConnectionFailedError, EgressDeniedError
from tests.unit.connectors.outside_app import reply

SECRET = "s3cr3t/value"


def moved(location: str, status: int = 302):
    return lambda *_: reply(b"", f"{status} Moved", location=location)


def asks(app, url=None) -> OutboundRequest:
    return OutboundRequest(
        "POST",
        url or app.url("/start"),
        {
            "Authorization": f"Bearer {SECRET}",
            "Cookie": "a=b",
            "X-Api-Key": SECRET,
            "X-Odd-Name": SECRET,
            "Accept": "application/json",
        },
        {"api_key": SECRET, "page": 1},
        secrets=frozenset({SECRET}),
    ).with_json({"n": 1})


@pytest.mark.parametrize(
    ("status", "method", "expected", "keeps_body"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "POST", "GET", False),
        (307, "POST", "POST", True),
        (308, "POST", "POST", True),
        (302, "PUT", "PUT", True),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", False),
        (301, "GET", "GET", False),
    ],
)
async def test_the_method_follows_the_status(status, method, expected, keeps_body, serve, connect):
    """RFC 9110 §15.4: what is repeated, and what becomes a GET without a body."""
    app = await serve(
        lambda asked, _: (
            reply(b"", f"{status} Moved", location="/there?x=ü")
            if asked.target == "/here"
            else reply(b"")
        )
    )
    request = OutboundRequest(method, app.url("/here"))
    request = request.with_json({"n": 1}) if method in ("POST", "PUT") else request

    await connect(app).send(request)

    there = app.asked[1]
    assert (there.method, bool(there.body)) == (expected, keeps_body)
    assert ("content-type" in there.headers) == keeps_body
    assert there.target == "/there?x=%C3%BC"


async def test_credentials_stay_at_their_origin(serve, connect):
    """Another origin gets no header and no query value that could be a credential."""
    other = await serve()
    there = other.url(f"/there?api_key={SECRET}&page=1&next=s3cr3t%2Fvalue")
    app = await serve(moved(there, 307))

    response = await connect(app, other).send(asks(app))

    asked = other.asked[0]
    assert set(asked.headers) == {
        "accept", "accept-encoding", "content-length", "content-type", "host", "user-agent"
    }  # fmt: skip
    assert asked.target == "/there?page=1"
    assert asked.body == b'{"n":1}'
    assert SECRET not in response.url


async def test_credentials_go_along_within_an_origin(serve, connect):
    """The same app at another path still knows who asks."""
    app = await serve(
        lambda asked, _: (
            reply(b"{}") if asked.target == "/there" else reply(b"", "302 X", location="there")
        )
    )

    await connect(app).send(asks(app))

    assert app.asked[1].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/",
        "//localhost/",
        "https://user:pass@93.184.216.34/",
        "https://2130706433/",
        "file:///etc/passwd",
        "https://[::1]/",
        "http://127.0.0.1:1/",
    ],
)
async def test_every_hop_is_checked(location, serve, connect):
    """An app cannot send us where we would not go ourselves."""
    app = await serve(moved(location))

    with pytest.raises(EgressDeniedError) as caught:
        await connect(app).send(asks(app))

    assert caught.value.data["request"]["url"].startswith(app.url("/start?"))
    assert SECRET not in str(caught.value.body())


async def test_redirects_without_end_end(serve, connect):
    """Six answers of "elsewhere" are enough."""
    app = await serve(moved("/again"))

    with pytest.raises(ConnectionFailedError) as caught:
        await connect(app).send(OutboundRequest("GET", app.url()))

    assert caught.value.data["reason"] == "redirects"
    assert len(app.asked) == 6


async def test_five_redirects_are_followed(serve, connect):
    """Five are within the limit."""
    app = await serve(
        lambda asked, _: (
            reply(b'"there"')
            if asked.target == "/5"
            else reply(b"", "302 X", location=f"/{int(asked.target[1:]) + 1}")
        )
    )

    response = await connect(app).send(OutboundRequest("GET", app.url("/0")))

    assert (response.data, response.url) == ("there", app.url("/5"))


@pytest.mark.parametrize("answer", [reply(b"", "302 X"), reply(b"", "304 X", location="/x")])
async def test_what_leads_nowhere_is_the_answer(answer, serve, connect):
    """A redirect without a target, or a status that is none, is returned as it is."""
    app = await serve(lambda *_: answer)

    assert (await connect(app).send(OutboundRequest("GET", app.url()))).status in (302, 304)


async def test_redirects_can_be_left_alone(serve, connect):
    """Who sends credentials in the body wants to see the redirect instead."""
    app = await serve(moved("/there"))

    response = await connect(app).send(asks(app), follow_redirects=False)

    assert (response.status, len(app.asked)) == (302, 1)
