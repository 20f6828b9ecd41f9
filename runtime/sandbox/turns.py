"""Shares a number of places between tenants, so that none can take them all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class Turns:
    """Places for runs: one tenant has half of them at most, and who has least is served first."""

    def __init__(self, places: int) -> None:
        """Share out this many places, one at least."""
        self._free = places
        self._share = max(1, places // 2)
        self._held: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, tenant: Hashable) -> AsyncIterator[None]:
        """Hold a place for a tenant, after waiting for one."""
        if self._free > 0 and self._held.get(tenant, 0) < self._share:
            self._take(tenant)
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._give_back(tenant)

    async def _wait(self, tenant: Hashable) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back(tenant)
            else:
                self._leave(tenant, place)
            raise

    def _take(self, tenant: Hashable) -> None:
        self._free -= 1
        self._held[tenant] = self._held.get(tenant, 0) + 1

    def _give_back(self, tenant: Hashable) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while (place := self._next()) is not None:
            if not place[1].done():  # else who waited was cancelled a moment ago
                self._take(place[0])
                return place[1].set_result(None)
        return None

    def _next(self) -> tuple[Hashable, asyncio.Future[None]] | None:
        """Take who is next out of the queue: of those with the fewest, who has waited longest."""
        entitled = [each for each in self._waiting if self._held.get(each, 0) < self._share]
        if not entitled:
            return None
        chosen = min(entitled, key=lambda each: self._held.get(each, 0))  # a dict keeps its order
        queue = self._waiting.pop(chosen)
        place = queue.popleft()
        if queue:
            self._waiting[chosen] = queue  # behind the others
        return chosen, place

    def _leave(self, tenant: Hashable, place: asyncio.Future[None]) -> None:
        """Take out of the queue who does not want to wait any longer."""
        queue = self._waiting.get(tenant, deque())
        if place in queue:
            queue.remove(place)
        if not queue:
            self._waiting.pop(tenant, None)
