"""A scripted server and the two clients that speak to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.client.scripted_api import SECRET, Api
from vesicle import AsyncVesicle, Vesicle


@pytest.fixture
def api() -> Iterator[Api]:
    """A server of the test's own, on a free port, in a thread of its own."""
    api = Api()
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()
        open_connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(5)
    yield api
    loop.call_soon_threadsafe(stop.set)
    thread.join(5)
    loop.close()


@pytest.fixture
def vesicle(api: Api) -> Iterator[Vesicle]:
    """A blocking client of that server."""
    with Vesicle(workspace_key="ws", workspace_secret=SECRET, api_url=api.url) as vesicle:
        yield vesicle


@pytest.fixture
async def async_vesicle(api: Api):
    """An async client of that server."""
    async with AsyncVesicle(
        workspace_key="ws", workspace_secret=SECRET, api_url=api.url
    ) as vesicle:
        yield vesicle
