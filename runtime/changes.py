"""The word that something changed, so that every process forgets what it knew, or stops a run.

It travels by publish and subscribe and may be lost. So caches also age (runtime/cache.py), and a
worker that renews a run's lease sees that the run has to stop (runtime/runs/holder.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["announce", "announce_due", "announce_stop", "listen"]

_CHANNEL = "vesicle:changes"
_EVERYTHING = "*"
_FORGET, _STOP, _DUE = "forget:", "stop:", "due:"

log = structlog.get_logger()


async def announce(redis: Redis, workspace_id: UUID | None) -> None:
    """Tell every process that something of a workspace changed; None is the universe.

    Called after the change is committed. Redis being away delays the news by a cache's age only.
    """
    await _tell(redis, f"{_FORGET}{workspace_id or _EVERYTHING}")


async def announce_stop(redis: Redis, run_id: UUID) -> None:
    """Tell the worker that holds a run to stop it now; its row says so already."""
    await _tell(redis, f"{_STOP}{run_id}")


async def announce_due(redis: Redis) -> None:
    """Tell the schedulers that some schedule is due at another time than they think."""
    await _tell(redis, _DUE)


async def listen(
    redis: Redis,
    forget: Callable[[UUID | None], None] = lambda _: None,
    stop: Callable[[UUID], None] = lambda _: None,
    due: Callable[[], None] = lambda: None,
) -> None:
    """Call what an announcement is about, until cancelled; survives the loss of Redis."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(_CHANNEL)
                forget(None)  # what was announced while nobody listened is unknown
                due()
                async for message in channel.listen():
                    if message["type"] == "message":
                        _heed(message["data"].decode(), forget, stop, due)
        except (RedisError, OSError) as error:
            log.warning("changes.connection_lost", error=type(error).__name__)
            await asyncio.sleep(0.5)


def _heed(
    text: str,
    forget: Callable[[UUID | None], None],
    stop: Callable[[UUID], None],
    due: Callable[[], None],
) -> None:
    if text == _DUE:
        due()
    elif text.startswith(_STOP):
        stop(UUID(text.removeprefix(_STOP)))
    elif text.startswith(_FORGET):
        what = text.removeprefix(_FORGET)
        forget(None if what == _EVERYTHING else UUID(what))


async def _tell(redis: Redis, text: str) -> None:
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(_CHANNEL, text)
