"""Stock dramatiq on Redis with an actor that does nothing in a thread."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["QUEUE_URL"]))  # noqa: TID251 - a peer knows nothing of our settings


@dramatiq.actor(queue_name="sync")
def noop() -> None:
    """Do nothing."""


def fill(count: int) -> None:
    """Send messages."""
    for _ in range(count):
        noop.send()
