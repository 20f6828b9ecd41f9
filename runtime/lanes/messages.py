"""What goes into a queue, what comes out of it, and how a message can end."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "Batch",
    "Beat",
    "DeadLetter",
    "Depth",
    "Enqueued",
    "LaneDepth",
    "LaneStat",
    "Location",
    "Outcome",
    "QueuedMessage",
    "Thirsty",
    "acked",
    "back",
    "dead",
    "retried",
]


class QueuedMessage(NamedTuple):
    """A message and the lane in which it waits.

    `message_id` makes sending idempotent: an id that the queue already has is ignored. `delay` is
    in milliseconds from now, by the server's clock. `priority` is from -9 to 9; within the
    tenant's lane the highest runs first. `connection` and `element` are what caps count it by.
    """

    message_id: str
    workspace: str
    tenant: str
    payload: bytes
    delay: int = 0
    priority: int = 0
    connection: str = ""
    element: str = ""


class Enqueued(NamedTuple):
    """How many messages were new to the queue, and the ids of those for which it had no room."""

    added: int
    spilled: list[str]


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
    """How many messages a queue has: `total` counts those queued, capped, delayed and held.

    `capped` counts those that a full cap keeps from starting, `deep_lanes` the lanes of which more
    waits in PostgreSQL.
    """

    total: int
    delayed: int
    held: int
    dead: int
    consumers: int
    capped: int = 0
    deep_lanes: int = 0

    @property
    def queued(self) -> int:
        """Messages that wait in a lane and could start now."""
        return max(0, self.total - self.delayed - self.held - self.capped)


class LaneDepth(NamedTuple):
    """How many messages stand in one lane, and for how many seconds the first of them has.

    Others are parked under a full cap or delayed; if it is deep, more wait in PostgreSQL.
    """

    queued: int
    waited: float | None
    parked: int = 0
    delayed: int = 0
    deep: bool = False


class LaneStat(NamedTuple):
    """A lane's messages that wait, those its tenant holds in all queues, and its debt.

    `debt_seconds` is how much more work the tenant was given than what is being served now.
    """

    workspace: str
    tenant: str
    queued: int
    held: int
    debt_seconds: float


class Location(NamedTuple):
    """Where a message is, and what it waits for.

    `position` is 1 for the next of its lane. `ahead_lanes` is about how many tenants are served
    before its own. `cap` names the cap that holds it back, which allows `cap_limit` messages and
    has `cap_running`. `due_in` is in seconds.
    """

    state: Literal["queued", "capped", "delayed", "held", "unknown"]
    position: int | None
    ahead_lanes: int
    cap: str | None
    due_in: float | None
    cap_limit: int | None
    cap_running: int | None


class Thirsty(NamedTuple):
    """A lane that has room for more of what waits in PostgreSQL.

    `spills` counts how often something was left there; `filled` wants to hear it.
    """

    queue: str
    workspace: str
    tenant: str
    room: int
    spills: int


class DeadLetter(NamedTuple):
    """A message that was given up, when (milliseconds since 1970, server's clock) and why."""

    message: QueuedMessage
    died_at: int
    reason: str
