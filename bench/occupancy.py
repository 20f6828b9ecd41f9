"""Who holds how many slots on average, by what the queue itself says is held."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from runtime.lanes.client import Lanes, connect
from runtime.lanes.inspection import top_lanes

__all__ = ["Occupancy"]

#: Seconds between two looks: far shorter than what is measured, and prime to the jobs' lengths.
_PACE = 0.037
_TENANTS = 100


@dataclass
class Occupancy:
    """Looks again and again; a slot is held from the fetch of a message to its end."""

    looks: int = 0
    _held: Counter[str] = field(default_factory=Counter)

    async def watch(self, redis_url: str, queue: str, seconds: float) -> None:
        """Look for that many seconds."""
        async with connect(redis_url) as redis:
            lanes = Lanes(redis, queue)
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                self.looks += 1
                for lane in await lanes.run(top_lanes(_TENANTS)):
                    self._held[lane.tenant] += lane.held
                await asyncio.sleep(_PACE)

    def slots(self, tenant: str) -> float:
        """Return how many slots a tenant held on average."""
        return self._held[tenant] / max(1, self.looks)

    def total(self) -> float:
        """Return how many slots all held on average."""
        return self._held.total() / max(1, self.looks)
