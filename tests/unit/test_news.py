"""Word of what is new: only about what somebody watches."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from runtime import news
from runtime.live.hub import Hub


class Heard:
    """A Redis that keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []

    async def publish(self, channel: str, text: str) -> None:
        """Keep it."""
        self.published.append((channel, text))


@pytest.fixture
def redis():
    """A stand-in that hears everything."""
    return Heard()


async def test_nothing_is_said_where_nobody_watches(redis):
    """Not even looked at: what is told of is not gone through."""
    watched = news.Watched(redis)

    def untouched():
        raise AssertionError
        yield

    watched.tell(untouched())
    await asyncio.sleep(0)
    assert redis.published == []


async def test_only_what_is_watched_is_told_of(redis, monkeypatch):
    """And only for a while after it was last said to be."""
    now = [100.0]
    monkeypatch.setattr(news, "monotonic", lambda: now[0])
    watched, run, other = news.Watched(redis), uuid.uuid4(), uuid.uuid4()
    watched._learn([run])
    watched.tell([other, run, run])
    await asyncio.gather(*watched._telling)
    assert redis.published == [("vesicle:news", str(run))]
    watched.tell([other])
    now[0] += 14
    watched._learn([other])
    now[0] += 2
    watched.tell([run, other])
    await asyncio.gather(*watched._telling)
    assert redis.published[1:] == [("vesicle:news", str(other))]
    now[0] += 16
    watched.tell([other])
    assert not watched._until


async def test_a_hub_wakes_those_who_watch(redis):
    """Each of them, and says once to the workers what is watched."""
    hub, run = Hub(redis, most=5), uuid.uuid4()
    async with hub.watching(run) as first, hub.watching(run) as second:
        hub.heard([uuid.uuid4()])
        assert not first.is_set()
        hub.heard([run])
        assert first.is_set()
        assert second.is_set()
    hub.heard([run])
    assert redis.published == [("vesicle:watched", str(run))]
    assert not hub._events
