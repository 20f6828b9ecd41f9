"""Waiting for runs when Redis is in the way."""

from __future__ import annotations

import asyncio
import uuid

import redis

from runtime.waiting import Waiters


class _Channels:
    """A subscription that fails at first; until it holds, listening ends at once."""

    def __init__(self, failures: int):
        self.failures = failures
        self.subscribed = False
        self.names: set[str] = set()

    async def subscribe(self, *names):
        if self.failures:
            self.failures -= 1
            message = "gone"
            raise redis.ConnectionError(message)
        self.names.update(names)
        self.subscribed = True

    async def unsubscribe(self, *names):
        self.names.difference_update(names)
        self.subscribed = bool(self.names)

    async def listen(self):
        while self.subscribed:
            await asyncio.sleep(0)
            for name in tuple(self.names):
                yield {"channel": name.encode()}

    async def aclose(self):
        self.subscribed = False


class _Redis:
    def __init__(self, channels):
        self.channels = channels

    def pubsub(self, **_):
        return self.channels


async def test_a_lost_subscription_is_made_again():
    """A waiter whose subscription failed hears of its run all the same, and blocks nobody."""
    waiters = Waiters(_Redis(_Channels(failures=2)))
    async with asyncio.timeout(5), waiters.listening(uuid.uuid4()) as ended:
        await ended.wait()
    await waiters.close()


async def test_an_end_wakes_everybody():
    """A process that stops has nobody wait for its runs."""
    waiters = Waiters(_Redis(_Channels(failures=10_000)))
    async with asyncio.timeout(5), waiters.listening(uuid.uuid4()) as ended:
        waiters.end()
        await ended.wait()
    assert waiters.ended
    await waiters.close()
