"""Word for whoever watches live: something of a run, a tenant or a workspace has just changed.

Nobody watches most things, so a worker that says nothing about them does nothing for them: those
who watch say what, again and again, and only about that there is news. Both may be lost; who
watches looks again now and then anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from runtime.clock import monotonic

__all__ = ["ANNOUNCE", "Watched", "announce_watched", "hear_news"]

log = structlog.get_logger()

_WATCHED, _NEWS = "vesicle:watched", "vesicle:news"

#: Seconds between two announcements of what is watched, and for which one counts.
ANNOUNCE, _COUNTS = 5.0, 15.0
#: Things believed to be watched, past which those that are not any more are forgotten.
_MANY = 1000


class Watched:
    """What somebody watches, as one worker process knows it."""

    def __init__(self, redis: Redis) -> None:
        """Tell over this Redis."""
        self._redis = redis
        self._until: dict[UUID, float] = {}
        self._heard = 0.0
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, ids: Iterable[UUID]) -> None:
        """Say that there is news of these, if anybody watches; waits for nothing."""
        if not self._until:
            return
        now = monotonic()
        if now - self._heard > _COUNTS:
            self._until.clear()
            return
        wanted = [str(each) for each in set(ids) if self._until.get(each, 0.0) > now]
        if wanted:
            task = asyncio.create_task(_publish(self._redis, _NEWS, wanted))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def listen(self, listening: Redis) -> None:
        """Learn what is watched, until cancelled. `listening` is a client without patience."""
        await _listen(listening, _WATCHED, self._learn)

    def _learn(self, ids: list[UUID]) -> None:
        self._heard = now = monotonic()
        self._until.update(dict.fromkeys(ids, now + _COUNTS))
        if len(self._until) > _MANY:
            self._until = {each: until for each, until in self._until.items() if until > now}


async def announce_watched(redis: Redis, ids: Iterable[UUID]) -> None:
    """Say what this process watches, or some of it."""
    await _publish(redis, _WATCHED, [str(each) for each in ids])


async def hear_news(listening: Redis, heard: Callable[[list[UUID]], None]) -> None:
    """Call `heard` with what there is news of, until cancelled; survives the loss of Redis."""
    await _listen(listening, _NEWS, heard)


async def _publish(redis: Redis, channel: str, ids: list[str]) -> None:
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(channel, ",".join(ids))


async def _listen(redis: Redis, name: str, heard: Callable[[list[UUID]], None]) -> None:
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(name)
                async for message in channel.listen():
                    if message["type"] == "message":
                        text = message["data"].decode()
                        heard([UUID(each) for each in text.split(",") if each])
        except (RedisError, OSError) as error:
            log.warning("news.connection_lost", error=type(error).__name__)
            await asyncio.sleep(0.5)
