"""The consumer that dramatiq's threads use, for queues whose actors block."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import structlog
from dramatiq import Consumer
from dramatiq.errors import ConnectionClosed, DecodeError

from runtime.clock import monotonic
from runtime.lanes.client import TROUBLE
from runtime.lanes.messages import Outcome, QueuedMessage, back, dead
from runtime.lanes.operations import beat, exchange, leave
from workers.delivery import Delivery, Holdings
from workers.encoder import read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dramatiq import MessageProxy

    from runtime.lanes.client import BlockingLanes

__all__ = ["BlockingConsumer", "Quarantine", "log_only"]

#: What is told of a message that cannot be read, and why it cannot. It must not block.
Quarantine: TypeAlias = "Callable[[QueuedMessage, str], None]"

log = structlog.get_logger(__name__)


def log_only(message: QueuedMessage, reason: str) -> None:
    """Log that a message was put aside; its payload stays among the dead letters."""
    log.error("message quarantined", message_id=message.message_id, reason=reason)


class BlockingConsumer(Consumer):
    """Fetches no more than the threads can start at once, and waits without polling.

    One thread iterates, the worker threads settle.
    """

    def __init__(
        self,
        lanes: BlockingLanes,
        waiter: BlockingLanes,
        *,
        name: str,
        slots: int,
        idle: float,
        quarantine: Quarantine,
        consumer_timeout: float,
    ) -> None:
        """Take the queue twice: `waiter` has a connection of its own on which it may block.

        `idle` is for how many seconds an iteration may wait for a message.
        """
        self.name = name
        self._lanes = lanes
        self._waiter = waiter
        self._slots = slots
        self._idle = idle
        self._quarantine = quarantine
        self._timeout = consumer_timeout
        self._holdings = Holdings()
        self._fetched: deque[Delivery] = deque()
        self._freed = threading.Condition()
        self._next_beat = 0.0

    def __next__(self) -> MessageProxy | None:
        """Return a message, or None if there was none for a while.

        Raises ConnectionClosed if the queue cannot be asked.
        """
        try:
            self._beat_if_due()
            if not self._fetched:
                self._fetch()
            return self._fetched.popleft() if self._fetched else None
        except TROUBLE as error:
            raise ConnectionClosed(str(error)) from None

    def ack(self, message: MessageProxy) -> None:
        """Settle a message: done, or to be tried again if its actor raised."""
        self._settle(message)

    def nack(self, message: MessageProxy) -> None:
        """Put a message among the dead letters."""
        self._settle(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put messages back to their places in their lanes.

        They count as not held from the start, so that a beat heals what cannot be said now.
        """
        deliveries = [message for message in messages if isinstance(message, Delivery)]
        for delivery in deliveries:
            self._holdings.discard(delivery.lane_id)
        for delivery in deliveries:
            self._tell(back(delivery.lane_id))

    def close(self) -> None:
        """Put back what no thread has yet; the others go on, so this consumer lives on."""
        fetched, self._fetched = self._fetched, deque()
        self.requeue(fetched)

    def leave(self) -> None:
        """Hand everything back for good."""
        try:
            self._lanes.run(leave(self.name))
        except TROUBLE:
            log.warning("could not hand messages back; they are taken over", consumer=self.name)

    def _fetch(self) -> None:
        with self._freed:
            room = self._slots - len(self._holdings)
            if room <= 0:
                self._freed.wait(self._idle)
                return
        batch = self._lanes.run(exchange(self.name, room))
        for message in batch.messages:
            self._receive(message)
        if not batch.messages:
            due = self._idle if batch.next_due is None else batch.next_due
            self._waiter.wait(max(0.001, min(self._idle, due)))

    def _receive(self, message: QueuedMessage) -> None:
        if message.message_id in self._holdings:
            return  # we work on it still; the queue thought us dead and gave it to us again
        self._holdings.add(message.message_id)
        try:
            delivery = Delivery(read_message(message.payload), message.message_id)
        except DecodeError as error:
            self._tell(dead(message.message_id, 0.0, f"unreadable: {error}"))
            self._quarantine(message, str(error))
            return
        delivery.options.pop("eta", None)  # delays are the queue's; a thread would keep it itself
        self._fetched.append(delivery)

    def _settle(self, message: MessageProxy) -> None:
        if isinstance(message, Delivery):
            self._tell(message.outcome())

    def _tell(self, outcome: Outcome) -> None:
        try:
            self._lanes.run(exchange(self.name, 0, [outcome]))
        except TROUBLE as error:
            raise ConnectionClosed(str(error)) from None
        with self._freed:
            self._holdings.discard(outcome.message_id)
            self._freed.notify()

    def _beat_if_due(self) -> None:
        if monotonic() < self._next_beat:
            return
        answer = self._lanes.run(beat(self.name, self._timeout))
        for lane_id in self._holdings.lost(answer.held):
            self._tell(back(lane_id))
        self._next_beat = monotonic() + self._timeout / 3
