"""What goes into a queue, what comes out of it, and how a message can end."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "Batch",
    "Beat",
    "DeadLetter",
    "Depth",
    "LaneDepth",
    "Outcome",
    "QueuedMessage",
    "acked",
    "back",
    "dead",
    "retried",
]


class QueuedMessage(NamedTuple):
    """A message and the lane in which it waits.

    `message_id` makes sending idempotent: an id that the queue already has is ignored. `delay` is
    in milliseconds from now, by the server's clock.
    """

    message_id: str
    workspace: str
    tenant: str
    payload: bytes
    delay: int = 0


class Outcome(NamedTuple):
    """How a message that a consumer holds ended, and how many seconds of work it took."""

    kind: Literal["ack", "retry", "back", "dead"]
    message_id: str
    seconds: float
    detail: str


def acked(message_id: str, seconds: float) -> Outcome:
    """Say that a message is done: it leaves the queue."""
    return Outcome("ack", message_id, seconds, "")


def retried(message_id: str, seconds: float, delay: int | None = None) -> Outcome:
    """Say that a message has to come again, `delay` milliseconds from now.

    Without a delay the queue backs off: half a second, doubling with each time up to a minute.
    """
    return Outcome("retry", message_id, seconds, "" if delay is None else str(max(0, delay)))


def back(message_id: str) -> Outcome:
    """Say that a message was not worked on: it goes back to its place in its lane."""
    return Outcome("back", message_id, 0.0, "")


def dead(message_id: str, seconds: float, reason: str) -> Outcome:
    """Say that a message will never work: it is kept among the dead letters with the reason."""
    return Outcome("dead", message_id, seconds, reason.replace("\x1f", " ")[:500])


class Batch(NamedTuple):
    """What a fetch brought; `next_due` is in seconds, None if no message is delayed."""

    messages: list[QueuedMessage]
    next_due: float | None


class Beat(NamedTuple):
    """What a sign of life is answered with: is there work, when will there be, what do I hold."""

    waiting: bool
    next_due: float | None
    held: frozenset[str]


class Depth(NamedTuple):
    """How many messages a queue has: `total` counts those queued, delayed and held."""

    total: int
    delayed: int
    held: int
    dead: int
    consumers: int

    @property
    def queued(self) -> int:
        """Messages that wait in a lane and could start now."""
        return max(0, self.total - self.delayed - self.held)


class LaneDepth(NamedTuple):
    """How many messages wait in one lane, and for how many seconds the first of them has."""

    queued: int
    waited: float | None


class DeadLetter(NamedTuple):
    """A message that was given up, when (milliseconds since 1970, server's clock) and why."""

    message: QueuedMessage
    died_at: int
    reason: str
