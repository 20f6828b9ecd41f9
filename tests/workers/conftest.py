"""Brokers on a Valkey server of the tests' own, and consumers on the tests' loop."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import Any

import dramatiq
import pytest

from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import dead_letters, depth, enqueue
from tests.lanes.conftest import client, redis_url, start_server, valkey  # noqa: F401 - fixtures
from workers.broker import LaneBroker
from workers.consumer import LoopConsumer
from workers.encoder import LaneEncoder
from workers.loop_actor import LoopActor

_numbers = itertools.count(1)


class Bench:
    """A broker with one coroutine queue, and what tests do with it."""

    def __init__(self, url: str, **options: Any) -> None:
        self.queue = f"loop{next(_numbers)}"
        self.quarantined: list[tuple[str, str]] = []
        options.setdefault("quarantine", self.note)
        options.setdefault("consumer_timeout", 1.0)
        self.broker = LaneBroker(url, **options)
        self.lanes = self.broker.lanes(self.queue)

    def note(self, message, why):
        self.quarantined.append((message.message_id, why))

    def actor(self, fn, **options: Any):
        options = {"actor_class": LoopActor, "queue_name": self.queue, **options}
        return dramatiq.actor(broker=self.broker, **options)(fn)

    def put_raw(self, message_id: str, payload: bytes) -> None:
        self.lanes.run(enqueue([QueuedMessage(message_id, "shop", "acme", payload)]))

    def depth(self):
        return self.lanes.run(depth())

    def waiting(self):
        """How many consumers would be given the next message."""
        return self.broker.client.zcard(f"{self.lanes.prefix}:waiting")

    def dead(self):
        return {
            letter.message.message_id: letter.reason for letter in self.lanes.run(dead_letters())
        }

    @asynccontextmanager
    async def consuming(self, slots=8, grace=5.0):
        consumer = LoopConsumer(self.broker, [self.queue], slots=slots, grace=grace)
        running = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            consumer.stop()
            await running


@pytest.fixture
def make_bench(redis_url):  # noqa: F811 - the fixture
    dramatiq.set_encoder(LaneEncoder())
    benches = []

    def make(url=redis_url, **options: Any):
        benches.append(Bench(url, **options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.broker.close()


@pytest.fixture
def bench(make_bench) -> Bench:
    return make_bench()
