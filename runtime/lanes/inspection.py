"""Questions about what waits in a queue, where, and why; they change nothing."""

from __future__ import annotations

from typing import Any, cast

from runtime.lanes.messages import (
    DeadLetter,
    Depth,
    LaneDepth,
    LaneStat,
    Location,
    QueuedMessage,
)
from runtime.lanes.script import Operation, Script

__all__ = [
    "dead_letters",
    "depth",
    "lane_depth",
    "locate",
    "read_message",
    "seconds_of",
    "text",
    "top_lanes",
]

_LOOK = Script("caps", "stopped", "head", "holding", "look")
_MANAGE = Script("caps", "stopped", "head", "holding", "manage")
#: Parts of a record: workspace, tenant, priority, connection, element, payload.
_PARTS = 6


def depth() -> Operation[Depth]:
    """Ask how many messages the queue has."""
    return Operation(_LOOK, ["depth"], lambda reply: Depth(*reply))


def lane_depth(workspace: str, tenant: str) -> Operation[LaneDepth]:
    """Ask how many messages wait in one lane."""
    return Operation(_LOOK, ["lane", workspace, tenant], _read_lane)


def locate(message_id: str) -> Operation[Location]:
    """Ask where a message is, and what it waits for."""
    return Operation(_LOOK, ["locate", message_id], _read_location)


def top_lanes(limit: int) -> Operation[list[LaneStat]]:
    """Ask for the lanes with the most messages, of a thousand lanes at most."""
    return Operation(_LOOK, ["top", limit], _read_stats)


def dead_letters(limit: int = 100) -> Operation[list[DeadLetter]]:
    """List the messages that were given up last, the newest first."""
    return Operation(_MANAGE, ["dead", limit], _read_dead)


def text(value: bytes) -> str:
    """Decode what the server says; nothing that it can say is an error."""
    return value.decode(errors="replace")


def seconds_of(milliseconds: int) -> float | None:
    """Turn milliseconds into seconds, and a negative number into None."""
    return None if milliseconds < 0 else milliseconds / 1000


def read_message(message_id: bytes, record: bytes) -> QueuedMessage:
    """Split a record; one that we did not write goes to nobody's lane as it is, to be refused."""
    parts = record.split(b"\x1f", _PARTS - 1)
    if len(parts) != _PARTS or not parts[2].lstrip(b"-").isdigit():
        return QueuedMessage(text(message_id), "", "", record)
    workspace, tenant, priority, connection, element, payload = parts
    return QueuedMessage(
        message_id.decode(errors="replace"),
        workspace.decode(errors="replace"),
        tenant.decode(errors="replace"),
        payload,
        0,
        int(priority),
        connection.decode(errors="replace") if connection else "",
        element.decode(errors="replace") if element else "",
    )


def _read_lane(reply: list[int]) -> LaneDepth:
    queued, waited, parked, delayed, deep = reply
    return LaneDepth(queued, seconds_of(waited), parked, delayed, bool(deep))


def _read_location(reply: list[Any]) -> Location:
    state, position, ahead, name, limit, running, due = reply
    return Location(
        state=cast("Any", text(state)),
        position=None if position < 0 else position,
        ahead_lanes=ahead,
        cap=text(name) or None,
        due_in=seconds_of(due),
        cap_limit=limit if name else None,
        cap_running=running if name else None,
    )


def _read_stats(reply: list[Any]) -> list[LaneStat]:
    fives = zip(*(reply[part::5] for part in range(5)), strict=True)
    return [
        LaneStat(text(workspace), text(tenant), queued, held, float(debt))
        for workspace, tenant, queued, held, debt in fives
    ]


def _read_dead(reply: list[bytes]) -> list[DeadLetter]:
    letters = []
    for message_id, died_at, letter in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
        reason, _, record = letter.partition(b"\x1f")
        message = read_message(message_id, record)
        letters.append(DeadLetter(message, int(float(died_at)), text(reason)))
    return letters
