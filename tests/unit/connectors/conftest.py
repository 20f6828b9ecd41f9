"""Outside apps on free ports, and clients that may call them."""

from __future__ import annotations

import asyncio

import pytest

from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from tests.unit.connectors.outside_app import App


@pytest.fixture
async def serve():
    """Start an app: `await serve(answer, host=…, tls=…)`."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(answer=None, *, host="127.0.0.1", tls=None) -> App:
        app = App() if answer is None else App(answer)

        async def serve_one(reader, writer):
            tasks.add(asyncio.current_task())
            await app.serve(reader, writer)
            tasks.discard(asyncio.current_task())

        server = await asyncio.start_server(serve_one, host, 0, ssl=tls)
        servers.append(server)
        app.port, app.host = server.sockets[0].getsockname()[1], host
        app.scheme = "https" if tls else "http"
        return app

    yield start
    for server in servers:
        server.close()
    for task in list(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(list(tasks), timeout=5)


@pytest.fixture
async def connect():
    """Make a client that may call the given apps: `connect(app, …, timeout=…)`."""
    clients: list[OutboundClient] = []

    def make(*apps: App, timeout=5.0, max_response=1_000_000, max_connections=1000, tls=None):
        places = ",".join(f"{app.host}:{app.port}" for app in apps)
        client = OutboundClient(
            EgressPolicy(places),
            timeout=timeout,
            max_response=max_response,
            max_connections=max_connections,
            tls=tls,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()
