"""What can be asked of a queue.

An operation is a value: which script, which arguments, how to read the answer. Either client runs
it, so nothing is written twice for asyncio and for threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from runtime.lanes.messages import (
    Batch,
    Beat,
    DeadLetter,
    Depth,
    LaneDepth,
    Outcome,
    QueuedMessage,
)

__all__ = [
    "BATCH_LIMIT",
    "CONSUMER_TIMEOUT",
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

_SEPARATOR = "\x1f"
_FOLDER = Path(__file__).parent / "scripts"


class Script:
    """A Lua script: the shared state and moves, then the parts of its own."""

    def __init__(self, *parts: str) -> None:
        """Read `scripts/<part>.lua`, one after the other."""
        self.text = "\n".join((_FOLDER / f"{part}.lua").read_text() for part in ("lanes", *parts))
        #: The server's name for the text; it is not a secret.
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A question to one queue. `repeatable` if asking again after a lost answer does no harm."""

    script: Script
    arguments: Sequence[str | bytes | int | float]
    read: Callable[[Any], T]
    repeatable: bool = True


_ENQUEUE = Script("enqueue")
_EXCHANGE = Script("settle", "take", "exchange")
_BEAT = Script("beat")
_MANAGE = Script("manage")


def enqueue(messages: Iterable[QueuedMessage]) -> Operation[int]:
    """Put messages into their lanes; answers how many of them were new.

    Raises ValueError for more than BATCH_LIMIT messages or a lane's name that cannot be one.
    """
    arguments: list[str | bytes | int] = []
    for message_id, workspace, tenant, payload, delay in messages:
        if _SEPARATOR in workspace or _SEPARATOR in tenant:
            raise ValueError("A lane's name may not hold the unit separator.")
        arguments += (message_id, workspace, tenant, delay, payload)
    _check_size(len(arguments) // 5)
    return Operation(_ENQUEUE, arguments, int)


def exchange(consumer: str, room: int, outcomes: Iterable[Outcome] = ()) -> Operation[Batch]:
    """Settle messages that this consumer holds and fetch up to `room` new ones, fairest first.

    Not repeatable: a second fetch brings other messages. A lost answer is healed by `beat`.
    """
    arguments: list[str | int | float] = [consumer, min(room, BATCH_LIMIT)]
    for outcome in outcomes:
        arguments += outcome[0], outcome[1], outcome[2], outcome[3]
    _check_size((len(arguments) - 2) // 4)
    return Operation(_EXCHANGE, arguments, _read_batch, repeatable=room == 0)


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


def lane_depth(workspace: str, tenant: str) -> Operation[LaneDepth]:
    """Ask how many messages wait in one lane."""
    return _manage(lambda reply: LaneDepth(reply[0], _seconds(reply[1])), "lane", workspace, tenant)


def depth() -> Operation[Depth]:
    """Ask how many messages the queue has."""
    return _manage(lambda reply: Depth(*reply), "depth")


def dead_letters(limit: int = 100) -> Operation[list[DeadLetter]]:
    """List the messages that were given up last, the newest first."""
    return _manage(_read_dead, "dead", limit)


def _manage(read: Callable[[Any], T], command: str, *arguments: str | float) -> Operation[T]:
    return Operation(_MANAGE, [command, *arguments], read)


def _check_size(count: int) -> None:
    if count > BATCH_LIMIT:
        raise ValueError(f"At most {BATCH_LIMIT} messages in one operation.")


def _nothing(_reply: object) -> None:
    return None


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000


def _read_message(message_id: bytes, record: bytes) -> QueuedMessage:
    """Split a record; one that we did not write goes to nobody's lane as it is, to be refused."""
    parts = record.split(b"\x1f", 2)
    workspace, tenant, payload = parts if len(parts) == 3 else (b"", b"", record)  # noqa: PLR2004 - a record has three parts
    return QueuedMessage(_text(message_id), _text(workspace), _text(tenant), payload)


def _read_batch(reply: list[Any]) -> Batch:
    pairs = zip(reply[1::2], reply[2::2], strict=True)
    return Batch([_read_message(*pair) for pair in pairs], _seconds(reply[0]))


def _read_beat(reply: list[Any]) -> Beat:
    return Beat(bool(reply[0]), _seconds(reply[1]), frozenset(map(_text, reply[2:])))


def _read_dead(reply: list[bytes]) -> list[DeadLetter]:
    letters = []
    for message_id, died_at, letter in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
        reason, _, record = letter.partition(b"\x1f")
        message = _read_message(message_id, record)
        letters.append(DeadLetter(message, int(float(died_at)), _text(reason)))
    return letters


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
