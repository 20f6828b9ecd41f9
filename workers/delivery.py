"""A message in a worker's hands: when it was received, how it ended, whether it is still held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dramatiq import MessageProxy
from dramatiq.errors import Retry
from dramatiq.middleware import SkipMessage

from runtime.clock import monotonic
from runtime.lanes.messages import Outcome, acked, dead, retried

if TYPE_CHECKING:
    from collections.abc import Collection

    from dramatiq import Message

__all__ = ["Delivery", "Holdings", "RefusedError"]


class RefusedError(SkipMessage):
    """The message must not run, now or ever; it is put aside under the reason that is given."""


class Delivery(MessageProxy):
    """Dramatiq's message, and what the queue has to be told about it.

    `lane_id` is the id under which the queue knows it: what the message says of itself is only a
    claim until its stamp was verified.
    """

    def __init__(self, message: Message[Any], lane_id: str) -> None:
        """Receive a message; its time runs from now."""
        super().__init__(message)
        self.lane_id = lane_id
        self.error: BaseException | None = None
        self._received = monotonic()

    def stuff_exception(self, exception: BaseException) -> None:
        """Remember why it did not succeed."""
        super().stuff_exception(exception)
        self.error = exception

    def clear_exception(self) -> None:
        """Let go of the exception, whose traceback keeps much alive."""
        super().clear_exception()
        self.error = None

    def seconds(self) -> float:
        """Return how long it has been in hand."""
        return monotonic() - self._received

    def outcome(self) -> Outcome:
        """Say how it ended: refused for good, to be tried again, or done.

        A run's own failure never gets here as an exception, so an exception is trouble around it:
        the queue backs off and tries again, for as long as the trouble lasts.
        """
        if self.failed:
            return dead(self.lane_id, self.seconds(), self.reason())
        if self.error is None or isinstance(self.error, SkipMessage):
            return acked(self.lane_id, self.seconds())
        delay = self.error.delay if isinstance(self.error, Retry) else None
        return retried(self.lane_id, self.seconds(), delay)

    def reason(self) -> str:
        """Name the reason; only a refusal's own words are ours and hold no secret."""
        if isinstance(self.error, SkipMessage):
            return str(self.error) or "refused"
        return "refused" if self.error is None else type(self.error).__name__


class Holdings:
    """The ids that this process got from a queue and has not settled yet.

    Compared with what the queue says it holds, they show which answers were lost on the wire.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._ids: set[str] = set()
        self._suspects: frozenset[str] = frozenset()

    def __contains__(self, lane_id: str) -> bool:
        """Tell whether an id is held."""
        return lane_id in self._ids

    def __len__(self) -> int:
        """Count what is held."""
        return len(self._ids)

    def add(self, lane_id: str) -> None:
        """Hold one more."""
        self._ids.add(lane_id)

    def discard(self, lane_id: str) -> None:
        """Hold it no longer."""
        self._ids.discard(lane_id)

    def lost(self, held: Collection[str]) -> frozenset[str]:
        """Return what the queue says we hold and we never saw, this time and the last time.

        Once is not enough: the answer that brings it may be on its way.
        """
        unseen = frozenset(held).difference(self._ids)
        lost = unseen & self._suspects
        self._suspects = unseen - lost
        return lost
