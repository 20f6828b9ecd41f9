"""One queue as the event loop sees it: what is held, what has to be said, whether there is work."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from runtime.lanes.client import TROUBLE, Lanes
from runtime.lanes.messages import QueuedMessage, back
from runtime.lanes.operations import BATCH_LIMIT, beat, exchange, leave, wake
from workers.delivery import Holdings

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.lanes.messages import Outcome

__all__ = ["WAIT", "Feed"]

#: Seconds for which a wait for work blocks before it asks again, to notice a dead connection.
WAIT = 20.0
#: Seconds before a wait that failed is tried again; until then the beats tell of work.
_RETRY_WAIT = 1.0

log = structlog.get_logger(__name__)


class Feed:
    """Brings a queue's messages and takes back their outcomes, all in single round trips.

    `exchange` is called by one task at a time. `nudge` is called when an exchange is worth it.
    """

    def __init__(
        self,
        lanes: Lanes,
        waiter: Lanes,
        *,
        name: str,
        timeout: float,
        nudge: Callable[[], None],
        start: Callable[[Feed, QueuedMessage], None],
    ) -> None:
        """Take the queue twice: `waiter` has a connection of its own on which it may block.

        `start` is called with what came by mail.
        """
        self.lanes = lanes
        self.name = name
        #: Whether there may be messages to fetch.
        self.wanting = True
        self._waiter = waiter
        self._timeout = timeout
        self._nudge = nudge
        self._start = start
        self._holdings = Holdings()
        self._outcomes: dict[str, Outcome] = {}
        self._drained = asyncio.Event()
        self._only_spare = asyncio.Event()
        self._woken = False
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def unsaid(self) -> bool:
        """Whether outcomes wait to be told."""
        return bool(self._outcomes)

    def settle(self, outcome: Outcome) -> None:
        """Tell an outcome with the next exchange."""
        self._outcomes[outcome.message_id] = outcome
        self._nudge()

    async def exchange(self, room: int, spare: int = 0) -> list[QueuedMessage]:
        """Tell the outcomes and fetch up to `room` messages, fairest first.

        Up to `spare` more come from tenants who hold little. Raises one of TROUBLE; the outcomes
        are kept and told again.
        """
        told = list(islice(self._outcomes.values(), BATCH_LIMIT))
        self.wanting = False
        try:
            batch = await self.lanes.run(
                exchange(self.name, room, told, spare=spare, reads_mail=True)
            )
        except BaseException:
            self.wanting = True
            raise
        self._forget(told)
        self._look_out(len(batch.messages), room, spare, batch.next_due)
        if room > 0:
            self._woken = False
        return [message for message in batch.messages if self._hold(message.message_id)]

    def _look_out(self, got: int, room: int, spare: int, next_due: float | None) -> None:
        """Decide what tells of the next work: another fetch, or a token and the next due time."""
        if room + spare <= 0:
            return
        if got == room + spare:
            self.wanting = True
            return
        self._wake_in(next_due)
        if got < room:
            self._drained.set()
        else:
            self._only_spare.set()

    async def pass_on(self) -> None:
        """Wake another process if this one was woken and has no room."""
        if self._woken:
            self._woken = False
            await self.lanes.run(wake())

    async def watch(self) -> None:
        """Wait for work whenever the queue was found empty, for ever."""
        while True:
            await self._drained.wait()
            try:
                found = await self._waiter.wait(WAIT, self.name)
            except TROUBLE:
                await asyncio.sleep(_RETRY_WAIT)
                continue
            if isinstance(found, QueuedMessage):
                if self._hold(found.message_id):
                    self._start(self, found)
            elif found:
                self._drained.clear()
                self._woken = True
                self._want()

    async def watch_spare(self) -> None:
        """Wait for work that may use spare slots, whenever no others were free; for ever."""
        while True:
            await self._only_spare.wait()
            try:
                if await self._waiter.wait_spare(WAIT):
                    self._only_spare.clear()
                    self._want()
            except TROUBLE:
                await asyncio.sleep(_RETRY_WAIT)

    async def beats(self) -> None:
        """Give signs of life, heal what a lost answer brought, notice a lost wake-up; for ever."""
        while True:
            try:
                answer = await self.lanes.run(beat(self.name, self._timeout))
            except TROUBLE as error:
                log.warning("no sign of life", queue=self.lanes.queue, error=type(error).__name__)
            else:
                for lane_id in self._holdings.lost(answer.held):
                    log.warning("lost answer healed", queue=self.lanes.queue, message_id=lane_id)
                    self.settle(back(lane_id))
                self._wake_in(answer.next_due)
                if answer.waiting:
                    self._want()
            await asyncio.sleep(self._timeout / 3)

    async def leave(self) -> None:
        """Tell what is left to tell, then hand back the rest."""
        try:
            while self._outcomes:
                await self.exchange(0)
            await self.lanes.run(leave(self.name))
        except TROUBLE:
            log.warning("could not hand messages back; they are taken over", consumer=self.name)
        if self._alarm is not None:
            self._alarm.cancel()

    def _hold(self, lane_id: str) -> bool:
        """Hold a message; False if we work on it still and were only thought dead."""
        known = lane_id in self._holdings
        self._holdings.add(lane_id)
        return not known

    def _forget(self, told: list[Outcome]) -> None:
        for outcome in told:
            if self._outcomes.get(outcome.message_id) is outcome:
                del self._outcomes[outcome.message_id]
                self._holdings.discard(outcome.message_id)

    def _want(self) -> None:
        self.wanting = True
        self._nudge()

    def _wake_in(self, seconds: float | None) -> None:
        """Look again when the next delayed message is due."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if seconds is not None:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._want)
