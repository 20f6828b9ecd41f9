"""Bodies: packed, in pieces, in any character set, and what they become."""

from __future__ import annotations

import gzip
import zlib

import pytest

from runtime.connectors.client import OutboundRequest
from tests.unit.connectors.outside_app import reply


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
