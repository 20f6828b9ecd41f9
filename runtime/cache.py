"""A cache whose entries are young, and loaded once however many ask at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from runtime import clock

__all__ = ["Cache"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    task: asyncio.Task[Value]
    born: float


class Cache(Generic[Key, Value]):
    """Values by workspace and key, for one event loop.

    An entry is used for `age` seconds at most; that bounds how long a change stays unseen even if
    the word of it is lost. `forget` drops a workspace's entries as soon as the word arrives, loads
    under way included: whoever began to read before a change does not leave its result here.
    """

    def __init__(self, *, age: float = 0.8, largest: int = 10_000) -> None:
        """Keep at most `largest` entries of at most `age` seconds."""
        self._age = age
        self._largest = largest
        self._entries: OrderedDict[tuple[UUID, Key], _Entry[Value]] = OrderedDict()

    async def get(
        self, workspace_id: UUID, key: Key, load: Callable[[], Awaitable[Value]]
    ) -> Value:
        """Return the value, loading it unless a young one is at hand. Errors are not kept."""
        task = self._task(workspace_id, key, load)
        if task.done():
            return task.result()
        # Shielded: one caller that is cancelled must not take the load from the others.
        return await asyncio.shield(task)

    def begin(self, workspace_id: UUID, key: Key, load: Callable[[], Awaitable[Value]]) -> None:
        """Begin to load what will be asked for next, unless it is at hand."""
        _ = self._task(workspace_id, key, load)

    def _task(
        self, workspace_id: UUID, key: Key, load: Callable[[], Awaitable[Value]]
    ) -> asyncio.Task[Value]:
        place = (workspace_id, key)
        entry = self._entries.get(place)
        if entry is None or clock.monotonic() - entry.born > self._age:
            entry = _Entry(asyncio.ensure_future(_awaited(load)), clock.monotonic())
            entry.task.add_done_callback(lambda task: self._drop_failed(place, task))
            self._entries[place] = entry
            self._entries.move_to_end(place)
            if len(self._entries) > self._largest:
                self._entries.popitem(last=False)
        return entry.task

    def forget(self, workspace_id: UUID | None) -> None:
        """Drop what is known of a workspace; None drops everything."""
        if workspace_id is None:
            self._entries.clear()
            return
        for place in [place for place in self._entries if place[0] == workspace_id]:
            del self._entries[place]

    def _drop_failed(self, place: tuple[UUID, Key], task: asyncio.Task[Value]) -> None:
        if task.cancelled() or task.exception() is not None:
            entry = self._entries.get(place)
            if entry is not None and entry.task is task:
                del self._entries[place]


async def _awaited(load: Callable[[], Awaitable[Value]]) -> Value:
    return await load()
