"""The word that a workspace's configuration changed, so that every process forgets what it knew.

It travels by publish and subscribe and may be lost; caches therefore also age (runtime/cache.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["announce", "listen"]

_CHANNEL = "vesicle:changes"
_EVERYTHING = "*"

log = structlog.get_logger()


async def announce(redis: Redis, workspace_id: UUID | None) -> None:
    """Tell every process that something of a workspace changed; None is the universe.

    Called after the change is committed. Redis being away delays the news by a cache's age only.
    """
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(_CHANNEL, str(workspace_id) if workspace_id else _EVERYTHING)


async def listen(redis: Redis, forget: Callable[[UUID | None], None]) -> None:
    """Call `forget` at each announcement, until cancelled; survives the loss of Redis."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(_CHANNEL)
                forget(None)  # what was announced while nobody listened is unknown
                async for message in channel.listen():
                    if message["type"] == "message":
                        text = message["data"].decode()
                        forget(None if text == _EVERYTHING else UUID(text))
        except (RedisError, OSError) as error:
            log.warning("changes.connection_lost", error=type(error).__name__)
            await asyncio.sleep(0.5)
