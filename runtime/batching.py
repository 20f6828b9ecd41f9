"""Many small writes as few large ones, without waiting for a timer.

A batch is whatever arrived while the one before it was under way: alone, an item goes at once;
under load, batches grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Generic, TypeAlias, TypeVar

from runtime.errors import UnreachableError

__all__ = ["Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_Entry: TypeAlias = tuple[Item, asyncio.Future[Result]]

#: Seconds after which a batch no longer keeps the next one from going beside it: it may wait for a
#: lock. Until then what comes is collected, because two batches of ten cost as much as two of
#: fifty: with two at any time a no-op run took a tenth more of all processors.
_LONG = 0.03
#: Items for each whom a batch serves from which on others do not wait for it.
_CROWD = 4


class Batcher(Generic[Item, Result]):
    """Collects items of one event loop and hands them to `flush` in batches.

    `flush` returns one result an item, in order; an exception among them is raised to that item's
    caller alone. If `flush` itself raises and the batch had several items, each is tried again by
    itself, so that one bad item spoils nobody else's. Not so if the database is away (or full):
    each would wait for it in turn, and the last of a hundred for a quarter of an hour.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        largest: int = 100,
        parallel: int = 2,
        whose: Callable[[Item], Hashable] = lambda _: None,
    ) -> None:
        """Write at most `largest` items at once, one batch after the other.

        While batches are full or take long, up to `parallel` of them are under way.

        Those for whom items wait take turns, so that one who has few does not wait for one who has
        many; `whose` tells them apart. Nor does he wait for a batch that is crowded by others.
        """
        self._flush = flush
        self._largest = largest
        self._parallel = parallel
        self._whose = whose
        self._waiting: dict[Hashable, deque[_Entry[Item, Result]]] = {}
        #: Each batch under way -> those whom it serves, if it serves few with many items.
        self._flushing: dict[asyncio.Task[None], frozenset[Hashable]] = {}
        self._scheduled = False
        #: When the youngest batch ceases to keep others waiting.
        self._alone_until = 0.0

    async def submit(self, item: Item) -> Result:
        """Hand in an item and wait for its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.setdefault(self._whose(item), deque()).append((item, future))
        self._schedule(loop)
        return await future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and self._waiting and self._admitted(loop):
            self._scheduled = True
            # After this turn of the loop, so that what is submitted in it goes together.
            loop.call_soon(self._start)

    def _admitted(self, loop: asyncio.AbstractEventLoop) -> Collection[Hashable]:
        """Return whose items may go into a batch now."""
        under_way = len(self._flushing)
        if not under_way or (under_way < self._parallel and loop.time() >= self._alone_until):
            return self._waiting.keys()
        if under_way < self._parallel and all(self._flushing.values()):
            crowd = frozenset().union(*self._flushing.values())
            return [owner for owner in self._waiting if owner not in crowd]
        return ()

    def _start(self) -> None:
        self._scheduled = False
        loop = asyncio.get_running_loop()
        if batch := self._next(self._admitted(loop)):
            task = asyncio.create_task(self._write(batch))
            self._flushing[task] = self._crowd(batch)
            task.add_done_callback(self._finished)
            if self._parallel > 1 and len(batch) < self._largest:
                self._alone_until = loop.time() + _LONG
                loop.call_later(_LONG, self._schedule, loop)
        self._schedule(loop)

    def _next(self, admitted: Collection[Hashable]) -> list[_Entry[Item, Result]]:
        """Take a batch, from each in turn; whoever was served goes to the end of the row."""
        batch: list[_Entry[Item, Result]] = []
        turns = list(admitted)
        while turns and len(batch) < self._largest:
            room = self._largest - len(batch)
            served, turns = turns[:room], turns[room:]
            for owner in served:
                entries = self._waiting.pop(owner)
                entry = entries.popleft()
                if entries:
                    self._waiting[owner] = entries
                if not entry[1].done():  # else its caller was cancelled
                    batch.append(entry)
            turns += [owner for owner in served if owner in self._waiting]
        return batch

    def _crowd(self, batch: Sequence[_Entry[Item, Result]]) -> frozenset[Hashable]:
        owners = frozenset(self._whose(item) for item, _ in batch)
        return owners if len(batch) >= _CROWD * len(owners) else frozenset()

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._flushing[task]
        self._schedule(task.get_loop())

    async def _write(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to whoever submitted
            if len(batch) == 1 or isinstance(error, UnreachableError):
                for _, future in batch:
                    _settle(future, error)
                return
            for entry in batch:
                await self._write([entry])
            return
        for (_, future), result in zip(batch, results, strict=True):
            _settle(future, result)


def _settle(future: asyncio.Future[Result], result: Result | BaseException) -> None:
    if future.done():  # the caller was cancelled; the write has happened all the same
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
