"""Strikes at the system in the order of a seed, and waits each time until it has recovered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runtime.clock import monotonic, now
from tests.chaos.faults import Fault, Field, last, pairs

__all__ = ["Nemesis", "Strike"]

#: Seconds in which what was under way at a strike has to end or to be taken over.
_SETTLED = 30.0

_IN_FLIGHT = "SELECT id, lease_token FROM runs WHERE status = 'running'"
_UNSETTLED = (
    "SELECT count(*) FROM runs JOIN unnest(%s::uuid[], %s::uuid[]) AS held(id, token)"
    " USING (id) WHERE runs.status = 'running' AND runs.lease_token = held.token"
)


@dataclass
class Strike:
    """A fault, or a pair, that was fired."""

    faults: Sequence[Fault]
    at: datetime
    began: float
    #: Runs that were under way when it struck.
    in_flight: int
    #: Moments on the clock of `monotonic`.
    struck: float = 0.0
    healed: float = 0.0
    ready: float = 0.0
    ended_at: datetime | None = None
    #: Runs that were neither ended nor taken over in time.
    unsettled: int = 0

    @property
    def name(self) -> str:
        """Name what was done."""
        return " + ".join(fault.name for fault in self.faults)

    @property
    def is_single(self) -> bool:
        """Return whether only one thing went wrong, so that figures are its own."""
        return len(self.faults) == 1


@dataclass
class Nemesis:
    """The faults of one campaign."""

    seed: int
    ground: Field
    say: Callable[[str], object]
    strikes: list[Strike] = field(default_factory=list)

    async def rage(self, seconds: float) -> None:
        """Fire each fault once, one at a time, then as many pairs, and so on until time is over.

        The first round is fired as a whole, however short the time.
        """
        deadline = monotonic() + seconds
        chosen = random.Random(f"nemesis {self.seed}")
        for fault in self._round(chosen):
            await self._fire([fault], chosen)
        while monotonic() < deadline:
            faults = self._round(chosen)
            for planned in [*(pairs(faults, chosen) for _ in faults), *([each] for each in faults)]:
                if monotonic() >= deadline:
                    return
                await self._fire(planned, chosen)

    def _round(self, chosen: random.Random) -> list[Fault]:
        faults = [*self.ground.core(chosen), *self.ground.links(chosen)]
        chosen.shuffle(faults)
        return faults

    async def _fire(self, faults: Sequence[Fault], chosen: random.Random) -> None:
        await asyncio.sleep(chosen.uniform(0.5, 1.5))
        for fault in faults:
            if fault.before is not None:
                await fault.before()
        held = await self.ground.database.rows(_IN_FLIGHT)
        strike = Strike(faults, now(), monotonic(), len(held))
        self.strikes.append(strike)
        for fault in faults:
            await fault.strike()
        strike.struck = monotonic()
        await asyncio.gather(*(last(fault) for fault in faults))
        strike.healed = monotonic()
        await self.ground.processes.ready()
        strike.ready = monotonic()
        await self._settle(strike, [(row["id"], row["lease_token"]) for row in held])
        strike.ended_at = now()
        self.say(f"{strike.at:%H:%M:%S} {strike.name}: {strike.in_flight} runs under way")

    async def _settle(self, strike: Strike, held: Sequence[tuple[object, object]]) -> None:
        ids, tokens = [run for run, _ in held], [token for _, token in held]
        deadline = monotonic() + _SETTLED
        while left := await self.ground.database.count(_UNSETTLED, ids, tokens):
            if monotonic() > deadline:
                strike.unsettled = left
                return
            await asyncio.sleep(0.1)
