"""A cache whose entries are true, and loaded once however many ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from runtime import clock
from runtime.changes import Change, Changes

__all__ = ["Cache"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    task: asyncio.Task[Value]
    born: float


class Cache(Generic[Key, Value]):
    """Values by workspace, tenant and key, for one event loop.

    An entry is used for `age` seconds, and for up to `longest` while the word of changes arrives.
    So a change stays unseen for `age` seconds at most, even if its word is lost. `forget` drops
    entries as soon as the word arrives, loads under way included: whoever began to read before a
    change does not leave its result here.
    """

    def __init__(
        self,
        changes: Changes | None = None,
        *,
        age: float = 0.8,
        longest: float = 60.0,
        largest: int = 10_000,
        tables: Collection[str] | None = None,
    ) -> None:
        """Keep about `largest` entries at most; forget what changes, of all tables or of these."""
        self._changes = changes
        self._age = age
        self._longest = longest
        self._largest = largest
        self._tables = tables
        self._size = 0
        self._entries: dict[UUID, dict[UUID | None, dict[Key, _Entry[Value]]]] = {}
        if changes is not None:
            changes.heed(self._heed)

    async def get(
        self,
        workspace_id: UUID,
        tenant_id: UUID | None,
        key: Key,
        load: Callable[[], Awaitable[Value]],
    ) -> Value:
        """Return the value, loading it unless a true one is at hand. Errors are not kept."""
        task = self._task(workspace_id, tenant_id, key, load)
        if task.done():
            return task.result()
        # Shielded: one caller that is cancelled must not take the load from the others.
        return await asyncio.shield(task)

    def begin(
        self,
        workspace_id: UUID,
        tenant_id: UUID | None,
        key: Key,
        load: Callable[[], Awaitable[Value]],
    ) -> None:
        """Begin to load what will be asked for next, unless it is at hand."""
        _ = self._task(workspace_id, tenant_id, key, load)

    def forget(self, workspace_id: UUID | None, tenant_id: UUID | None = None) -> None:
        """Drop what is known of everything, of a workspace, or of one tenant of it.

        What is kept for no tenant may have been made of any tenant's things, so it goes too.
        """
        if workspace_id is None:
            self._entries.clear()
            self._size = 0
            return
        tenants = self._entries.get(workspace_id, {})
        for each in [tenant_id, None] if tenant_id else list(tenants):
            self._size -= len(tenants.pop(each, ()))
        if not tenants:
            self._entries.pop(workspace_id, None)

    def _heed(self, change: Change) -> None:
        if self._tables is None or change.table is None or change.table in self._tables:
            self.forget(change.workspace_id, change.tenant_id)

    def _task(
        self,
        workspace_id: UUID,
        tenant_id: UUID | None,
        key: Key,
        load: Callable[[], Awaitable[Value]],
    ) -> asyncio.Task[Value]:
        entries = self._entries.setdefault(workspace_id, {}).setdefault(tenant_id, {})
        entry = entries.get(key)
        if entry is not None and self._is_true(entry):
            return entry.task
        self._size += entry is None
        entry = entries[key] = _Entry(asyncio.ensure_future(_awaited(load)), clock.monotonic())
        entry.task.add_done_callback(
            lambda task: self._drop_failed(workspace_id, tenant_id, key, task)
        )
        if self._size > self._largest:
            self._make_room()
        return entry.task

    def _is_true(self, entry: _Entry[Value]) -> bool:
        moment = clock.monotonic()
        old = moment - entry.born
        if old <= self._age:
            return True
        heard_until = self._changes.heard_until if self._changes is not None else entry.born
        return old <= self._longest and moment - heard_until <= self._age

    def _make_room(self) -> None:
        """Drop what is known of a tenant of the workspace that has been here for longest."""
        workspace_id, tenants = next(iter(self._entries.items()))
        self._size -= len(tenants.pop(next(iter(tenants))))
        if not tenants:
            del self._entries[workspace_id]

    def _drop_failed(
        self, workspace_id: UUID, tenant_id: UUID | None, key: Key, task: asyncio.Task[Value]
    ) -> None:
        if not task.cancelled() and task.exception() is None:
            return
        entries = self._entries.get(workspace_id, {}).get(tenant_id, {})
        entry = entries.get(key)
        if entry is not None and entry.task is task:
            del entries[key]
            self._size -= 1


async def _awaited(load: Callable[[], Awaitable[Value]]) -> Value:
    return await load()
