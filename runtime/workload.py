"""How much a process has on its hands, so that it takes no more than it can begin at once.

A run that waits for an outside app costs nothing while it waits, so a process may hold a thousand
of them. A run that is being claimed, prepared or put on record needs the processor and the
database: of those, more do not mean faster but that each takes longer, and a light tenant's run
with them (Little's law: 256 at 2,400 a second take 107 ms each). Fewer make smaller batches, which
cost more each, so the bound is tight only while it serves somebody: while one tenant crowds the
process and others come. Measured on 2 cores, two processes, a flood of no-ops (runs a second in
all, a light tenant's p50 wait): 256 busy 4,650 and 65 ms, 128 4,450 and 40 ms, 32 3,550 and 19 ms.
A bound of 128 at all times would halve what one process does with calls that take a second: the
1,000 of them that end together would begin again 128 by 128.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

from runtime.clock import monotonic

__all__ = ["Workload"]

#: Seconds for which a process goes on being considerate after a light tenant came.
_CONSIDERATE = 15.0
#: Runs up to which a tenant is light here.
_LIGHT = 2


class _Block(NamedTuple):
    """What is done before and after a block. Each run enters five, so no generators are made."""

    before: Callable[[], None]
    after: Callable[[], None]

    def __enter__(self) -> None:
        """Begin."""
        self.before()

    def __exit__(self, *_: object) -> None:
        """End, however it went."""
        self.after()


class Workload:
    """Counts the runs that one event loop is busy with; not for several threads."""

    def __init__(self, *, most: int, considerate: int, eased: Callable[[], None]) -> None:
        """Have room for `most` runs, or `considerate` ones; call `eased` when room comes about."""
        self._most = most
        self._few = considerate
        self._eased = eased
        self._busy = 0
        self._held: Counter[Hashable] = Counter()
        self._considerate_until = 0.0
        #: Counts a run for the duration of the block.
        self.busy = _Block(self.enter, self.leave)
        #: Leaves a counted run out for the duration of the block: it waits for somebody else.
        self.elsewhere = _Block(self.leave, self.enter)

    @property
    def room(self) -> int:
        """How many more runs may begin; below zero where runs came back from outside."""
        return self._bound() - self._busy

    def held_for(self, owner: Hashable) -> _Block:
        """Know whose a run is, whatever it does, for the duration of the block."""
        return _Block(partial(self._hold, owner), partial(self._let_go, owner))

    def _hold(self, owner: Hashable) -> None:
        held = self._held[owner] = self._held.get(owner, 0) + 1
        if held <= _LIGHT and self._is_crowded():
            self._considerate_until = monotonic() + _CONSIDERATE

    def _let_go(self, owner: Hashable) -> None:
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]

    def enter(self) -> None:
        """Count a run from now on."""
        self._busy += 1

    def leave(self) -> None:
        """Count it no more."""
        self._busy -= 1
        if self._busy < self._bound():
            self._eased()

    def _bound(self) -> int:
        return self._few if monotonic() < self._considerate_until else self._most

    def _is_crowded(self) -> bool:
        """Return whether one tenant has more than half of what is held here, and that is much."""
        largest = max(self._held.values())
        return largest >= self._few and 2 * largest > self._held.total()
