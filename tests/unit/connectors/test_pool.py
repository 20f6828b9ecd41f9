"""How long connections are kept, and that none is left behind."""

from __future__ import annotations

import asyncio

import pytest

from runtime.connectors.client import OutboundRequest
from runtime.errors import ConnectionFailedError
from tests.unit.connectors.outside_app import App, reply


@pytest.fixture
def keep_for(monkeypatch):
    """Set how long an idle connection is kept, in seconds."""
    return lambda seconds: monkeypatch.setattr("runtime.connectors.pool.KEEP_ALIVE", seconds)


async def test_idle_connections_are_closed(keep_for, serve, connect):
    """An app that is no longer called holds no connection of ours."""
    keep_for(0.05)
    app = await serve()
    client = connect(app)
    await asyncio.gather(*(client.send(OutboundRequest("GET", app.url())) for _ in range(5)))
    assert app.connected > 0

    await asyncio.wait_for(app.ended.wait(), 2)

    assert app.connected == 0


async def test_an_expired_connection_is_not_used(keep_for, serve, connect):
    """Past its time a connection is replaced even if nobody has closed it yet."""
    app = await serve()
    client = connect(app)
    await client.send(OutboundRequest("GET", app.url()))
    keep_for(0.0)

    await client.send(OutboundRequest("GET", app.url()))

    assert app.opened == 2


async def test_an_app_that_says_close_is_believed(serve, connect):
    """`Connection: close` ends the connection after the answer."""
    app = await serve(lambda *_: reply(b"1", connection="close"))
    client = connect(app)

    for _ in range(2):
        await client.send(OutboundRequest("GET", app.url()))

    assert app.opened == 2


async def test_a_failed_connect_gives_its_turn_back(serve, connect):
    """With one connection allowed, twenty failures leave the one usable."""
    app = await serve()
    nobody = App(port=1)
    client = connect(app, nobody, max_connections=1)

    for _ in range(20):
        with pytest.raises(ConnectionFailedError):
            await client.send(OutboundRequest("GET", nobody.url()))
    cancelled = [
        asyncio.create_task(client.send(OutboundRequest("GET", app.url()))) for _ in range(20)
    ]
    await asyncio.sleep(0)
    for call in cancelled:
        call.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)

    assert (await client.send(OutboundRequest("GET", app.url()))).status == 200


async def test_idle_connections_never_outnumber_the_cap(serve, connect):
    """Many origins do not add up to more open connections than allowed."""
    apps = [await serve() for _ in range(4)]
    client = connect(*apps, max_connections=2)

    for app in apps:
        await client.send(OutboundRequest("GET", app.url()))

    await asyncio.wait_for(apps[3].ended.wait(), 2)
    assert sum(app.connected for app in apps) == 2
