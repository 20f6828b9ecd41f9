"""What senders and consumers ask of a queue, run by either client.

`runtime.lanes.control` has what is told to all queues, `runtime.lanes.inspection` the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from runtime.lanes.inspection import dead_letters, depth, lane_depth, read_message, seconds_of, text
from runtime.lanes.messages import Batch, Beat, Enqueued, Outcome, QueuedMessage
from runtime.lanes.script import SEPARATOR, Operation, Script

__all__ = [
    "BATCH_LIMIT",
    "CONSUMER_TIMEOUT",
    "HEAD",
    "HIGHEST_PRIORITY",
    "Operation",
    "Script",
    "beat",
    "dead_letters",
    "depth",
    "enqueue",
    "exchange",
    "lane_depth",
    "leave",
    "remove",
    "wake",
    "weigh",
]

T = TypeVar("T")

#: Messages or outcomes in one operation at most: a script blocks the server while it runs, and
#: Lua cannot unpack more than some thousand values.
BATCH_LIMIT = 1000
#: Seconds without a sign of life after which a consumer's messages are handed to others.
CONSUMER_TIMEOUT = 5.0
#: Messages that a lane may have, besides those that are held; the rest stays in PostgreSQL.
HEAD = 2000
#: Priorities reach from minus this number to this number.
HIGHEST_PRIORITY = 9

_HELD = ("caps", "stopped", "head", "mail", "holding")
_ENQUEUE = Script(*_HELD, "draw", "take", "enqueue")
_EXCHANGE = Script(*_HELD, "settle", "draw", "take", "exchange")
_BEAT = Script(*_HELD, "beat")
_MANAGE = Script(*_HELD, "manage")


def enqueue(
    messages: Iterable[QueuedMessage], *, head: int = HEAD, refill: bool = False
) -> Operation[Enqueued]:
    """Put messages into their lanes, as far as these have room; answers what did not fit.

    A lane of which something did not fit is deep: until it is `filled`, only a `refill` and what
    has a higher priority than all that did not fit may enter it. Raises ValueError for more than
    BATCH_LIMIT messages, a name that cannot be one, or a priority out of range.
    """
    arguments: list[str | bytes | int] = [head, int(refill)]
    count = 0
    for message_id, workspace, tenant, payload, delay, priority, connection, element in messages:
        names = f"{workspace}{tenant}{connection}{element}"
        if SEPARATOR in names:
            raise ValueError("A lane's name may not hold the unit separator.")
        if abs(priority) > HIGHEST_PRIORITY:
            raise ValueError(f"Priorities reach from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}.")
        arguments += (message_id, workspace, tenant, delay, priority, connection, element, payload)
        count += 1
    _check_size(count)
    return Operation(_ENQUEUE, arguments, _read_enqueued)


def exchange(
    consumer: str,
    room: int,
    outcomes: Iterable[Outcome] = (),
    *,
    spare: int = 0,
    reads_mail: bool = False,
) -> Operation[Batch]:
    """Settle messages that this consumer holds and fetch up to `room` new ones, fairest first.

    `spare` is how many more it has room for that come from tenants who hold little of what is
    running. One that reads its mail (Lanes.wait) and finds less than it has room for is given the
    next message that comes, without asking for it. Not repeatable: a second fetch brings other
    messages. A lost answer is healed by `beat`.
    """
    room = min(room, BATCH_LIMIT)
    spare = min(spare, BATCH_LIMIT - room)
    arguments: list[str | int | float] = [consumer, room, spare, int(reads_mail)]
    count = 0
    for outcome in outcomes:
        arguments += outcome[0], outcome[1], outcome[2], outcome[3]
        count += 1
    _check_size(count)
    return Operation(_EXCHANGE, arguments, _read_batch, repeatable=room + spare == 0)


def beat(consumer: str, timeout: float = CONSUMER_TIMEOUT) -> Operation[Beat]:
    """Give a sign of life, and take over from consumers that gave none for `timeout` seconds."""
    return Operation(_BEAT, [consumer, int(timeout * 1000)], _read_beat)


def remove(message_id: str) -> Operation[bool]:
    """Withdraw a message that waits; answers False if it is held by a consumer or unknown."""
    return _manage(bool, "remove", message_id)


def leave(consumer: str) -> Operation[int]:
    """Hand back all that a consumer holds; answers how many messages that were."""
    return _manage(int, "leave", consumer)


def wake() -> Operation[None]:
    """Wake another consumer: the one that was woken has no room."""
    return _manage(_nothing, "wake")


def weigh(workspace: str, tenant: str | None, weight: float) -> Operation[None]:
    """Give a workspace, or a tenant within its workspace, another share than 1.

    Raises ValueError if the weight is not positive.
    """
    if not weight > 0:
        raise ValueError("A weight is a positive number.")
    return _manage(_nothing, "weigh", workspace, tenant or "", weight)


def _manage(read: Callable[[Any], T], command: str, *arguments: str | float) -> Operation[T]:
    return Operation(_MANAGE, [command, *arguments], read)


def _check_size(count: int) -> None:
    if count > BATCH_LIMIT:
        raise ValueError(f"At most {BATCH_LIMIT} messages in one operation.")


def _nothing(_reply: object) -> None:
    return None


def _read_enqueued(reply: list[Any]) -> Enqueued:
    return Enqueued(int(reply[0]), [text(message_id) for message_id in reply[1:]])


def _read_batch(reply: list[Any]) -> Batch:
    pairs = zip(reply[1::2], reply[2::2], strict=True)
    return Batch([read_message(*pair) for pair in pairs], seconds_of(reply[0]))


def _read_beat(reply: list[Any]) -> Beat:
    return Beat(bool(reply[0]), seconds_of(reply[1]), frozenset(map(text, reply[2:])))
