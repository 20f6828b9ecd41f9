"""Wakes whoever waits for a run to end, in whatever process; nobody polls.

Each run has a channel of its own, on which its worker says that it ended. The word may be lost
with Redis, so a waiter looks at the row again when it has heard nothing for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["RECHECK", "Waiters", "tell_ended"]

log = structlog.get_logger()

#: Seconds after which a waiter looks for itself, in case the word was lost.
RECHECK = 2.0


#: One command for all channels: a worker packs a command for each no faster than it does a run.
_TELL = "for _, channel in ipairs(ARGV) do redis.call('PUBLISH', channel, '') end"


def _channel(run_id: UUID) -> str:
    return f"vesicle:ended:{run_id}"


async def tell_ended(redis: Redis, run_ids: Iterable[UUID]) -> None:
    """Wake the waiters of these runs, which have ended and are committed."""
    channels = [_channel(run_id) for run_id in run_ids]
    if channels:
        with contextlib.suppress(RedisError, OSError):
            await cast("Any", redis).eval(_TELL, 0, *channels)


class Waiters:
    """The waiting requests of one process, over one subscription."""

    def __init__(self, redis: Redis) -> None:
        """Use this Redis; nothing is sent before somebody waits."""
        self._channels = redis.pubsub(ignore_subscribe_messages=True)
        self._events: dict[str, set[asyncio.Event]] = {}
        self._reader: asyncio.Task[None] | None = None
        #: Whether nobody is to wait any longer, since the process stops.
        self.ended = False

    @asynccontextmanager
    async def listening(self, run_id: UUID) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set when the run ends from now on.

        Enter before the run is sent, or read the run's row after entering.
        """
        channel = _channel(run_id)
        event = asyncio.Event()
        self._events.setdefault(channel, set()).add(event)
        try:
            with contextlib.suppress(RedisError, OSError):
                await self._channels.subscribe(channel)
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read())
            yield event
        finally:
            waiting = self._events[channel]
            waiting.discard(event)
            if not waiting:
                del self._events[channel]
                with contextlib.suppress(RedisError, OSError):
                    await self._channels.unsubscribe(channel)

    def end(self) -> None:
        """Wake everybody: who waits for a run hears that it goes on, and asks another process."""
        self.ended = True
        for events in self._events.values():
            for event in events:
                event.set()

    async def close(self) -> None:
        """Stop listening."""
        if self._reader is not None:
            self._reader.cancel()
        await self._channels.aclose()  # type: ignore[no-untyped-call] # untyped in redis-py

    async def _read(self) -> None:
        # Without a subscription `listen` ends; the next waiter starts another reader.
        while self._events:
            try:
                if not self._channels.subscribed:
                    # A waiter's own attempt has failed, or is just under way. Without this `listen`
                    # would end at once, again and again, and nothing else ever have its turn.
                    await self._channels.subscribe(*self._events)
                async for message in self._channels.listen():
                    for event in self._events.get(message["channel"].decode(), ()):
                        event.set()
            except (RedisError, OSError) as error:
                log.warning("waiting.connection_lost", error=type(error).__name__)
                await asyncio.sleep(0.2)
