"""Calls to outside apps are counted by what came of them."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from runtime.connectors.client import OutboundClient, OutboundRequest
from runtime.connectors.egress import EgressPolicy
from runtime.errors import ConnectionFailedError


def _counted(outcome):
    name = "vesicle_outside_call_seconds_count"
    return REGISTRY.get_sample_value(name, {"outcome": outcome}) or 0


@pytest.fixture
async def app():
    """An app that answers with the status that the path names, or never."""

    async def answer(reader, writer):
        line = await reader.readline()
        status = line.split()[1].strip(b"/").decode()
        if status == "never":
            await reader.read()
        else:
            writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def outside():
    policy = EgressPolicy("127.0.0.0/8", http=True)
    client = OutboundClient(policy, timeout=5, max_response=1000)
    yield client
    await client.close()


@pytest.mark.parametrize(("status", "outcome"), [("200", "2xx"), ("404", "4xx"), ("503", "5xx")])
async def test_answers_are_counted_by_class(app, outside, status, outcome):
    """Any answer counts once under the class of its status."""
    before = _counted(outcome)
    await outside.send(OutboundRequest(method="GET", url=f"{app}/{status}"))
    assert _counted(outcome) == before + 1


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("/never", "timeout"),
        ("http://127.0.0.1:1/", "unreachable"),
        ("http://10.0.0.1/", "egress_denied"),
    ],
)
async def test_failures_are_counted_by_reason(app, outside, url, outcome):
    """A call without an answer counts under why there is none."""
    before = _counted(outcome)
    target = url if url.startswith("http") else app + url
    with pytest.raises(ConnectionFailedError):
        await outside.send(OutboundRequest(method="GET", url=target), timeout=0.2)
    assert _counted(outcome) == before + 1


async def test_a_cancelled_call_is_counted(app, outside):
    """A call that its run's stop ends is counted as cancelled."""
    before = _counted("cancelled")
    task = asyncio.create_task(outside.send(OutboundRequest(method="GET", url=f"{app}/never")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _counted("cancelled") == before + 1
