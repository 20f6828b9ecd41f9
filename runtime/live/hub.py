"""Who watches what in one API process, and how many at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from redis.asyncio import Redis

from runtime.errors import RateLimitExceededError
from runtime.news import ANNOUNCE, announce_watched, hear_news
from runtime.tenancy import Scope

__all__ = ["Hub"]


class Hub:
    """Wakes the streams of one process when there is news for them. Belongs to one event loop."""

    def __init__(self, redis: Redis, *, most: int) -> None:
        """Allow `most` streams of one tenant, or of one workspace's managers, at once."""
        self._redis = redis
        self._most = most
        self._events: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._streams: Counter[Scope] = Counter()
        #: Set when the process is about to stop: all streams end.
        self.ending = asyncio.Event()

    @asynccontextmanager
    async def open(self, listening: Redis) -> AsyncIterator[None]:
        """Hear news for the length of the block. `listening` is a client without patience."""
        tasks = [
            asyncio.create_task(hear_news(listening, self.heard)),
            asyncio.create_task(self._announce()),
        ]
        try:
            yield
        finally:
            self.end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """End all streams."""
        self.ending.set()

    def heard(self, ids: Iterable[UUID]) -> None:
        """Wake who watches any of these."""
        for each in ids:
            for event in self._events.get(each, ()):
                event.set()

    def changed(self, workspace_id: UUID | None) -> None:
        """Wake who watches a workspace; everybody if it is not known what changed."""
        self.heard([workspace_id] if workspace_id is not None else list(self._events))

    @asynccontextmanager
    async def watching(self, watched: UUID) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set when there is news of a run, a tenant or a workspace."""
        event = asyncio.Event()
        is_new = watched not in self._events
        self._events[watched].add(event)
        try:
            if is_new:
                await announce_watched(self._redis, [watched])
            yield event
        finally:
            self._events[watched].discard(event)
            if not self._events[watched]:
                del self._events[watched]

    def admit(self, scope: Scope) -> contextlib.ExitStack:
        """Count a stream until the stack that is returned is closed.

        Raises RateLimitExceededError if there are too many.
        """
        if self._streams[scope] >= self._most:
            raise RateLimitExceededError(
                f"{self._most} live streams are open already; close one first.",
                data={"limit": self._most},
                headers={"Retry-After": "5"},
            )
        stack = contextlib.ExitStack()
        stack.enter_context(self._counted(scope))
        return stack

    @contextmanager
    def _counted(self, scope: Scope) -> Iterator[None]:
        self._streams[scope] += 1
        try:
            yield
        finally:
            self._streams[scope] -= 1
            if not self._streams[scope]:
                del self._streams[scope]

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(ANNOUNCE)
            if self._events:
                await announce_watched(self._redis, list(self._events))
