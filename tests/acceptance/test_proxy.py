"""Requests that pass through to the connected app with the tenant's credentials."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.parse

import httpx2
import pytest

from tests.samples import add_element
from tests.unit.connectors.outside_app import App, reply
from tests.waiting import eventually

MEGABYTE = 1_000_000
KEY = "key-of-acme-2f9c"


def described(asked) -> bytes:
    """Return what the app was asked, as its answer."""
    seen = {
        "method": asked.method,
        "target": asked.target,
        "headers": asked.headers,
        "body": asked.body.decode(),
    }
    return reply(json.dumps(seen).encode())


@pytest.fixture
async def serve():
    """Start an outside app: `await serve(answer)`."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(answer=None) -> App:
        app = App() if answer is None else App(answer)

        async def serve_one(reader, writer):
            tasks.add(asyncio.current_task())
            await app.serve(reader, writer)
            tasks.discard(asyncio.current_task())

        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        servers.append(server)
        app.port = server.sockets[0].getsockname()[1]
        return app

    yield start
    for server in servers:
        server.close()
    for task in list(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(list(tasks), timeout=5)


@pytest.fixture
async def connect(platform, workspace, worker, acme):
    """Connects acme to an app: `await connect(app, auth=…, credentials=…)`."""

    async def make(app, *, auth=None, credentials=None, **client):
        connector = {
            "key": "app",
            "name": "App",
            "apiClient": {"baseUri": app.url("/v1"), **client},
            "auth": auth or {"type": "api-key", "in": "header", "name": "X-Api-Key"},
        }
        await add_element(platform, workspace.id, "connector", "app", connector)
        await add_element(platform, workspace.id, "integration", "app", {"connectorKey": "app"})
        body = {
            "integrationKey": "app",
            "key": "main",
            "credentials": credentials or {"apiKey": KEY},
        }
        answer = await acme.post("/connections", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    return make


@pytest.fixture
async def over_http(api_url, acme):
    """A caller with acme's token over a real socket, whose answers can be read piece by piece."""
    headers = {"Authorization": acme.headers["Authorization"]}
    async with httpx2.AsyncClient(
        base_url=api_url, headers=headers, trust_env=False, timeout=30
    ) as client:
        yield client


@pytest.fixture
def passages(platform, workspace):
    """Returns the activity records of requests that passed through, once there are `count`."""

    async def find(count):
        async def enough():
            rows = await platform.rows(
                "SELECT * FROM activity_records WHERE workspace_id = %s"
                " AND tag LIKE 'connection:proxy:%%' ORDER BY id",
                workspace.id,
            )
            return rows if len(rows) >= count else None

        return await eventually(enough)

    return find


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_passes_through_with_the_connections_credentials(
    method, serve, connect, acme, passages
):
    """The app sees the method, path, query, body and harmless headers, and its own credentials."""
    app = await serve(lambda asked, _: described(asked))
    await connect(app, headers={"X-Version": "1"}, query={"region": "eu"})
    body = {} if method in ("GET", "DELETE") else {"content": b"name=acme"}

    answer = await acme.request(
        method,
        "/connections/main/proxy/deals/a%2Fb;x=1?q=1&q=%C3%A4+b",
        headers={
            "X-Custom": "kept",
            "Cookie": "session=callers",
            "X-Api-Key": "callers",
            "X-Auth-Token": "callers",
            "X-Forwarded-For": "10.0.0.1",
            "Connection": "x-hop",
            "X-Hop": "callers",
        },
        **body,
    )

    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Vesicle-Upstream"] == "true"
    seen = answer.json()
    assert seen["method"] == method
    assert seen["target"] == "/v1/deals/a%2Fb;x=1?q=1&q=%C3%A4+b&region=eu"
    assert seen["body"] == ("name=acme" if body else "")
    assert seen["headers"]["x-api-key"] == KEY
    assert seen["headers"]["x-custom"] == "kept"
    assert seen["headers"]["x-version"] == "1"
    assert "callers" not in json.dumps(seen)
    assert not {"authorization", "cookie", "x-forwarded-for"} & set(seen["headers"])
    (passage,) = await passages(1)
    assert (passage["tag"], passage["status"]) == ("connection:proxy:completed", "completed")
    assert passage["input"]["actor"] == "tenant:acme"
    assert passage["input"]["method"] == method
    assert passage["output"]["status"] == 200
    assert passage["output"]["bytes"] > 0
    assert passage["duration_ms"] > 0
    assert KEY not in json.dumps([passage["input"], passage["output"]])


async def test_head_has_headers_and_no_body(serve, connect, acme):
    """HEAD tells the app's headers."""
    app = await serve(lambda asked, _: reply(b"", x_total="7", etag='"a"'))
    await connect(app)

    answer = await acme.head("/connections/main/proxy/deals")

    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["x-total"], answer.headers["etag"]) == ("7", '"a"')
    assert app.asked[0].method == "HEAD"


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "429 Slow", "503 Down"])
async def test_the_apps_errors_are_the_apps(status, serve, connect, acme):
    """What the app answers comes with its status and body, and marked as the app's."""
    app = await serve(lambda *_: reply(b'{"their":"error"}', status, retry_after="7"))
    await connect(app)

    answer = await acme.get("/connections/main/proxy/deals")

    assert answer.status_code == int(status[:3])
    assert answer.json() == {"their": "error"}
    assert answer.headers["x-vesicle-upstream"] == "true"
    assert answer.headers["retry-after"] == "7"


async def test_the_apps_own_business_stays_with_the_app(serve, connect, acme):
    """Cookies, CORS rules, credentials that it repeats and marks like ours do not come through."""
    headers = {
        "set_cookie": "session=theirs",
        "access_control_allow_origin": "*",
        "x_vesicle_fake": "yes",
        "www_authenticate": "Basic",
        "x_echo": f"you sent {KEY}",
        "connection": "x-hop",
        "x_hop": "theirs",
        "link": "<next>",
    }
    app = await serve(lambda *_: reply(b"{}", **headers))
    await connect(app)

    answer = await acme.get("/connections/main/proxy/deals")

    names = set(answer.headers)
    assert answer.headers["link"] == "<next>"
    assert not {name.replace("_", "-") for name in headers} - {"link", "connection"} & names
    assert KEY not in str(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "../admin",
        "deals/../../admin",
        "deals/%2e%2e/%2E%2E/admin",
        "..%2fadmin",
        "%252e%252e/admin",
        "%25252525252e%25252525252e/admin",
        "./deals",
        "/evil.example/deals",
        "%2Fevil.example/deals",
        "\\evil.example",
        "%5cevil.example",
        "deals/..%5cadmin",
        "https://evil.example/",
        "deals%0d%0aX-Evil:1",
    ],
)
async def test_no_path_leads_away_from_the_base(path, serve, connect, acme, api_url):
    """A path that climbs, names a host or breaks out of its line is refused; the app is not asked.

    Sent over a bare socket, because HTTP clients tidy paths up.
    """
    app = await serve(lambda asked, _: described(asked))
    await connect(app)
    place = urllib.parse.urlsplit(api_url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    token = acme.headers["Authorization"]
    writer.write(
        f"GET /connections/main/proxy/{path} HTTP/1.1\r\nHost: api\r\nAuthorization: {token}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    answer = (await reader.read()).decode()
    writer.close()

    assert answer.split(" ")[1] in ("400", "404"), answer
    assert '"type":"bad_request"' in answer
    assert "x-vesicle-upstream" not in answer
    assert app.asked == []


async def test_the_key_in_a_query_is_the_connections(serve, connect, acme, passages):
    """A caller's parameter of the key's name does not reach the app, and the key no record."""
    app = await serve(lambda asked, _: described(asked))
    await connect(app, auth={"type": "api-key", "in": "query", "name": "api_key"})

    answer = await acme.get("/connections/main/proxy/deals?api_key=mine&api%5Fkey=mine&a=1")

    assert answer.json()["target"] == f"/v1/deals?a=1&api_key={KEY}"
    (passage,) = await passages(1)
    assert passage["input"]["url"].endswith("/v1/deals?a=1&api_key=[redacted]")


async def test_both_bodies_stream(serve, connect, over_http):
    """The app's first bytes arrive before its last, and a long body is sent while it is made."""
    go_on, head_read = asyncio.Event(), asyncio.Event()

    async def answer(asked, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        await writer.drain()
        head_read.set()

    app = await serve(answer)
    await connect(app)
    url = "/connections/main/proxy/export"
    async with over_http.stream("GET", url) as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"first"
        go_on.set()
        assert await anext(pieces) == b"second"

    async def upload():
        for _ in range(20):
            yield b"x" * MEGABYTE

    length = str(20 * MEGABYTE)
    answer = await over_http.put(url, content=upload(), headers={"Content-Length": length})
    assert answer.status_code == 200, answer.text
    assert len(app.asked[1].body) == 20 * MEGABYTE


async def test_a_body_of_unknown_length_passes(connect, over_http):
    """Chunks are passed on as chunks."""
    got = bytearray()

    async def take(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        while size := int(await reader.readline(), 16):
            got.extend((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        writer.write(reply(b"{}"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await connect(type("App", (), {"url": lambda _, path: f"http://127.0.0.1:{port}{path}"})())

    async def upload():
        yield b"a" * 100_000
        yield b"b"

    async with server:
        answer = await over_http.post("/connections/main/proxy/x", content=upload())

    assert answer.status_code == 200
    assert got == b"a" * 100_000 + b"b"


async def test_compressed_answers_stay_compressed(serve, connect, acme):
    """What the caller accepts is what the app is asked for, and the bytes are not touched."""
    app = await serve(lambda *_: reply(b"\x1f\x8bnot really", content_encoding="gzip"))
    await connect(app)

    request = acme.build_request(
        "GET", "/connections/main/proxy/x", headers={"Accept-Encoding": "gzip, br"}
    )
    answer = await acme.send(request, stream=True)

    assert b"".join([piece async for piece in answer.aiter_raw()]) == b"\x1f\x8bnot really"
    assert app.asked[0].headers["accept-encoding"] == "gzip, br"


async def test_a_caller_who_leaves_ends_the_call(serve, connect, acme, api_url, passages):
    """When the caller hangs up, the connection to the app is closed, before and amid an answer."""
    begun = asyncio.Event()

    async def answer(asked, writer):
        if asked.target.endswith("amid"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
        begun.set()
        await eventually(asked.is_over)

    app = await serve(answer)
    await connect(app)
    place, token = urllib.parse.urlsplit(api_url), acme.headers["Authorization"]
    for path in ("before", "amid"):
        begun.clear()
        app.ended.clear()
        _, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(
            f"GET /connections/main/proxy/{path} HTTP/1.1\r\nHost: api\r\n"
            f"Authorization: {token}\r\n\r\n".encode()
        )
        await asyncio.wait_for(begun.wait(), 5)
        writer.close()
        await asyncio.wait_for(app.ended.wait(), 5)
    rows = await passages(2)
    assert {row["status"] for row in rows} == {"failed"}


async def test_endless_answers_are_cut(serve, connect, app, over_http, monkeypatch):
    """Past the bound of size or time the answer breaks off, and does not look whole."""

    async def flood(asked, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not (writer.is_closing() or asked.is_over()):
                writer.write(b"x" * 10_000 if asked.target.endswith("flood") else b"x")
                await writer.drain()
                await asyncio.sleep(0 if asked.target.endswith("flood") else 0.02)

    outside = await serve(flood)
    await connect(outside)
    client = app.state.services.proxy.client
    monkeypatch.setattr(client, "_max_response", MEGABYTE)
    with pytest.raises(httpx2.RemoteProtocolError):
        await over_http.get("/connections/main/proxy/flood")
    monkeypatch.setattr(client, "_timeout", 0.3)
    with pytest.raises(httpx2.RemoteProtocolError):
        await over_http.get("/connections/main/proxy/drip")


async def test_an_app_that_is_silent_or_gone_is_our_error(serve, connect, app, acme, monkeypatch):
    """No answer in time, or nobody there, is the envelope of ours, without the mark."""
    outside = await serve(lambda *_: asyncio.sleep(60))
    await connect(outside)
    monkeypatch.setattr(app.state.services.proxy.client, "_timeout", 0.2)

    slow = await acme.get("/connections/main/proxy/x")

    assert slow.status_code == 502
    assert slow.json()["type"] == "connection"
    assert slow.json()["data"]["reason"] == "timeout"
    assert "x-vesicle-upstream" not in slow.headers


async def test_redirects_of_reads_are_followed_without_credentials(serve, connect, acme):
    """GET goes where the app sends it, credentials do not; POST is the caller's to judge."""
    other = await serve(lambda asked, _: described(asked))
    app = await serve(lambda *_: reply(b"", "302 Found", location=other.url("/file")))
    await connect(app)

    read = await acme.get("/connections/main/proxy/x")
    write = await acme.post("/connections/main/proxy/x", content=b"a")

    assert read.json()["target"] == "/file"
    assert KEY not in read.text
    assert (write.status_code, write.headers["location"]) == (302, other.url("/file"))


async def test_the_egress_policy_holds(connect, acme, app, monkeypatch, passages, platform):
    """A base that leads inside is refused, and costs nothing."""
    inside = type("App", (), {"url": lambda _, path: f"https://169.254.169.254{path}"})()
    await connect(inside)

    answer = await acme.get("/connections/main/proxy/latest/meta-data")

    assert (answer.status_code, answer.json()["key"]) == (400, "egress_denied")
    (passage,) = await passages(1)
    assert (passage["status"], passage["credits"]) == ("failed", {})


async def test_a_limit_on_api_requests_holds(serve, connect, acme, manager, passages):
    """Of many requests at once no more pass than the limit says; usage shows each that did."""
    app = await serve()
    await connect(app)
    limit = {"resource": "api-requests", "scope": "tenant", "window": "1h", "limit": 3}
    assert (await manager.post("/limits", json=limit)).status_code == 201

    answers = await asyncio.gather(
        *(acme.get("/connections/main/proxy/x") for _ in range(8)), return_exceptions=True
    )

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["key"] == "rate_limit_exceeded"
    assert int(refused.headers["retry-after"]) > 0
    assert len(app.asked) == 3
    await passages(8)
    usage = (await manager.get("/usage")).json()
    assert '"used":3' in json.dumps(usage).replace(" ", "").replace("3.0", "3"), usage


async def test_one_tenant_takes_so_many_places(serve, connect, acme, app, monkeypatch):
    """Requests under way at once are bounded for each tenant."""
    release = asyncio.Event()

    async def answer(asked, writer):
        await release.wait()
        return reply(b"{}")

    outside = await serve(answer)
    await connect(outside)
    monkeypatch.setattr(app.state.services.proxy, "most_at_once", 1)
    first = asyncio.create_task(acme.get("/connections/main/proxy/x"))
    await eventually(lambda: outside.asked)

    second = await acme.get("/connections/main/proxy/x")
    release.set()

    assert second.status_code == 429
    assert (await first).status_code == 200


async def test_a_refused_token_is_renewed_once(serve, connect, acme):
    """An app's 401 has the token renewed and the request sent again; a second 401 stands."""
    tokens = iter(["stale", "fresh", "never"])

    def answer(asked, _):
        if asked.target == "/token":
            token = {"access_token": next(tokens), "token_type": "Bearer", "expires_in": 3600}
            return reply(json.dumps(token).encode())
        good = asked.headers["authorization"] == "Bearer fresh" and asked.target != "/v1/never"
        return described(asked) if good else reply(b"{}", "401 Unauthorized")

    app = await serve(answer)
    await connect(
        app,
        auth={"type": "oauth2-client-credentials", "tokenUri": app.url("/token")},
        credentials={"clientId": "acme", "clientSecret": "secret-of-acme"},
    )
    first = await asyncio.gather(
        *(acme.post("/connections/main/proxy/deals", content=b"new") for _ in range(5))
    )

    assert {answer.status_code for answer in first} == {200}
    assert (await acme.get("/connections/main/proxy/never")).status_code == 401
    assert sum(asked.target == "/token" for asked in app.asked) == 2


async def test_an_archived_connection_passes_nothing(serve, connect, acme):
    """From the moment of its archive on, nothing goes over a connection."""
    app = await serve()
    await connect(app)
    assert (await acme.get("/connections/main/proxy/x")).status_code == 200

    await acme.delete("/connections/main")

    assert (await acme.get("/connections/main/proxy/x")).status_code == 404
    assert len(app.asked) == 1


async def test_a_body_past_the_bound_is_refused(serve, connect, acme, platform):
    """What is announced as larger than the setting is answered with 413, and not sent on."""
    app = await serve()
    await connect(app)
    too_large = str(platform.settings.proxy_body + 1)

    answer = await acme.post(
        "/connections/main/proxy/x", content=b"", headers={"Content-Length": too_large}
    )

    assert (answer.status_code, answer.json()["key"]) == (413, "payload_too_large")
    assert app.asked == []
