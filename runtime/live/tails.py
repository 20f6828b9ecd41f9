"""Tails of tables whose ids say when a row was made: each read once for all who watch it.

Rows become visible in another order than their ids were made. So each look goes back a little, and
leaves out what was seen. Who reads too slowly is dropped: nothing is kept for it without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

import structlog
from psycopg.rows import DictRow

from runtime.clock import now
from runtime.live.hub import Hub
from runtime.moments import uuid_floor, uuid_moment

__all__ = ["Read", "Subscriber", "Tails"]

log = structlog.get_logger()

#: Returns at most so many rows after an id, the oldest first, without those that were seen.
Read: TypeAlias = Callable[[UUID, Sequence[UUID], int], Awaitable[Sequence[DictRow]]]

#: Seconds between two looks at least, and at most if nothing is heard.
_PAUSE, _RECHECK = 0.1, 2.0
#: How far back a look goes.
_OVERLAP = timedelta(seconds=2)
#: Rows of one look, and rows that wait for one reader.
_PAGE, _WAITING = 500, 2000


class Subscriber:
    """One who watches a tail: what waits for it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rows: asyncio.Queue[DictRow] = asyncio.Queue(_WAITING)
        #: Whether it was too slow, or the tail broke.
        self.is_dropped = False

    def offer(self, row: DictRow) -> None:
        """Add a row; who has too many waiting gets no more."""
        try:
            self._rows.put_nowait(row)
        except asyncio.QueueFull:
            self.is_dropped = True

    async def rows(self) -> AsyncIterator[DictRow]:
        """Yield rows as they come; ends when it was dropped."""
        while not self.is_dropped:
            yield await self._rows.get()


class _Tail:
    """One tail, read as long as anybody watches."""

    def __init__(self, hub: Hub, watched: UUID, read: Read) -> None:
        self._hub = hub
        self._watched = watched
        self._read = read
        self._first = self._after = uuid_floor(now())
        self._seen: dict[UUID, None] = {}
        self.subscribers: set[Subscriber] = set()

    async def run(self) -> None:
        """Read for ever."""
        async with self._hub.watching(self._watched) as told:
            while True:
                told.clear()
                try:
                    found = await self._look()
                except Exception as error:  # noqa: BLE001 - the database is away, for now
                    log.warning("live.not_read", error=type(error).__name__)
                    found = 0
                await asyncio.sleep(_PAUSE)
                if found < _PAGE:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_RECHECK):
                            await told.wait()

    async def _look(self) -> int:
        begin = uuid_floor(uuid_moment(self._after) - _OVERLAP)
        rows = await self._read(begin, list(self._seen), _PAGE)
        for row in rows:
            self._seen[row["id"]] = None
            for subscriber in self.subscribers if row["id"] >= self._first else ():
                subscriber.offer(row)
        if rows:
            self._after = max(self._after, rows[-1]["id"])
        begin = uuid_floor(uuid_moment(self._after) - _OVERLAP)
        self._seen = {each: None for each in self._seen if each >= begin}
        return len(rows)


class Tails:
    """The tails of one process, by what is watched and by whom it may be seen."""

    def __init__(self, hub: Hub) -> None:
        """Be told by the hub."""
        self._hub = hub
        self._tails: dict[tuple[object, ...], tuple[_Tail, asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def subscribed(
        self, key: tuple[object, ...], watched: UUID, read: Read
    ) -> AsyncIterator[Subscriber]:
        """Yield a subscriber to the tail of this key, which begins now if there is none yet."""
        if key not in self._tails:
            tail = _Tail(self._hub, watched, read)
            self._tails[key] = (tail, asyncio.create_task(tail.run()))
        tail, task = self._tails[key]
        subscriber = Subscriber()
        tail.subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            tail.subscribers.discard(subscriber)
            if not tail.subscribers:
                del self._tails[key]
                task.cancel()
