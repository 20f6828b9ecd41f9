"""A receiver, a clock that is set by hand, and a deliverer that goes by it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from runtime.db import Database
from runtime.webhooks.delivery import Deliverer
from tests.api.asking import ok
from tests.webhooks.receiver import Receiver


class Clock:
    """Says what time it is: now, and however much later it was told to be."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
async def _nothing_else_is_due(platform):
    """A deliverer sends whatever is due, also what another test left behind."""
    async with platform.owner() as owner:
        await owner.execute("DELETE FROM webhook_endpoints")


@pytest.fixture
def clock():
    """The deliverer's clock."""
    return Clock()


@pytest.fixture
async def receiver():
    """A product's end of the webhooks."""
    async with Receiver() as listening:
        yield listening


@pytest.fixture
async def make_deliverer(platform, clock):
    """Makes deliverers with settings of their own."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**changes) -> Deliverer:
            settings = platform.settings.model_copy(
                update={"webhook_calls": 32, "webhook_timeout": 5.0, **changes}
            )
            database = Database(settings, platform.root, ["messenger"], size=2)
            await stack.enter_async_context(database)
            client = OutboundClient(
                EgressPolicy(settings.egress_allow, http=settings.egress_http),
                timeout=settings.webhook_timeout,
                max_response=1 << 20,
            )
            stack.push_async_callback(client.close)
            return Deliverer(database, platform.vault, client, settings, now=clock)

        yield make


@pytest.fixture
async def deliverer(make_deliverer):
    """One that is asked to deliver by hand."""
    return await make_deliverer()


@pytest.fixture
async def endpoint(manager, receiver):
    """An endpoint that gets everything."""
    return await ok(manager.post("/webhook-endpoints", json={"url": f"{receiver.url}/all"}), 201)


@pytest.fixture
def tell(manager):
    """Has an endpoint told of something, and returns the delivery's id."""

    async def send(endpoint) -> str:
        path = f"/webhook-endpoints/{endpoint['id']}/test"
        return (await ok(manager.post(path), 202))["id"]

    return send
