"""Stock dramatiq on Redis with an actor that is a coroutine and does nothing."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO

broker = RedisBroker(url=os.environ["QUEUE_URL"])  # noqa: TID251 - a peer knows nothing of our settings
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="async")
async def noop() -> None:
    """Do nothing."""


def fill(count: int) -> None:
    """Send messages."""
    for _ in range(count):
        noop.send()
