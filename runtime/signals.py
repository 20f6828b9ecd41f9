"""Word that a run has to stop, or that a schedule is due at another time than was thought.

It travels by publish and subscribe and may be lost: a worker that renews a run's lease sees that
the run has to stop (runtime/runs/holder.py), and a scheduler looks again every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["announce_due", "announce_stop", "listen"]

_CHANNEL = "vesicle:changes"  # what the release before listens to
_STOP, _DUE = "stop:", "due:"

log = structlog.get_logger()


async def announce_stop(redis: Redis, run_id: UUID) -> None:
    """Tell the worker that holds a run to stop it now; its row says so already."""
    await _tell(redis, f"{_STOP}{run_id}")


async def announce_due(redis: Redis) -> None:
    """Tell the schedulers that some schedule is due at another time than they think."""
    await _tell(redis, _DUE)


async def listen(
    redis: Redis,
    stop: Callable[[UUID], None] = lambda _: None,
    due: Callable[[], None] = lambda: None,
) -> None:
    """Call what a signal is about, until cancelled; survives the loss of Redis."""
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(_CHANNEL)
                due()  # it may have been said while nobody listened
                async for message in channel.listen():
                    if message["type"] == "message":
                        _heed(message["data"].decode(), stop, due)
        except (RedisError, OSError) as error:
            log.warning("signals.connection_lost", error=type(error).__name__)
            await asyncio.sleep(0.5)


def _heed(text: str, stop: Callable[[UUID], None], due: Callable[[], None]) -> None:
    if text == _DUE:
        due()
    elif text.startswith(_STOP):
        stop(UUID(text.removeprefix(_STOP)))


async def _tell(redis: Redis, text: str) -> None:
    with contextlib.suppress(RedisError, OSError):
        await redis.publish(_CHANNEL, text)
