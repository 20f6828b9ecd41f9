"""What is told to all queues at once: caps, and which lanes have more in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.lanes.inspection import text
from runtime.lanes.messages import Thirsty
from runtime.lanes.operations import HEAD
from runtime.lanes.script import Operation, Script

__all__ = ["cap_version", "charge", "filled", "recount", "set_caps", "spill", "thirsty"]

_MANAGE = Script("caps", "stopped", "head", "holding", "manage")


def set_caps(caps: Mapping[str, int], version: str) -> Operation[None]:
    """Make these the caps: how many messages may be held at once, over all queues, under a name.

    Names are `workspace:<ws>`, `tenant:<ws>/<tenant>`, `connection:<id>`, `flow:<connection>`,
    `element:<ws>/<id>`, and `tenants@<ws>`, `connections@<ws>`, `flows@<ws>`, `elements@<ws>` for
    those of a workspace that have no cap of their own. A limit of 2**31 or more is none. What a
    raised or removed cap held back goes on at once; what a lowered one has let begin ends as it
    would have.
    """
    arguments: list[str | int] = ["set_caps", version]
    for name, limit in caps.items():
        arguments += name, limit
    return Operation(_MANAGE, arguments, _nothing)


def cap_version() -> Operation[str | None]:
    """Ask which version of the caps is in force; None if the server has lost them."""
    return Operation(_MANAGE, ["cap_version"], lambda reply: None if reply is None else text(reply))


def recount() -> Operation[None]:
    """Count anew what is held: a queue was dropped with all that it knew."""
    return Operation(_MANAGE, ["recount"], _nothing)


def spill(workspace: str, tenant: str, priority: int, *, head: int = HEAD) -> Operation[None]:
    """Say that something of this priority waits in PostgreSQL for the tenant's lane."""
    return Operation(_MANAGE, ["spill", workspace, tenant, priority, head], _nothing)


def charge(workspace: str, tenant: str, seconds: float) -> Operation[None]:
    """Charge a tenant's lane for work that went on beside that of a message."""
    return Operation(_MANAGE, ["charge", workspace, tenant, seconds], _nothing)


def thirsty(limit: int) -> Operation[list[Thirsty]]:
    """Ask for lanes of all queues that are to be filled up; others do not get them for 5 s."""
    return Operation(_MANAGE, ["thirsty", limit], _read_thirsty)


def filled(workspace: str, tenant: str, spills: int | None = None) -> Operation[bool]:
    """Say that nothing of a lane is left in PostgreSQL, which was looked at after `thirsty`.

    With the number of spills that `thirsty` told: answers False, and the lane stays deep, if
    something was spilled since.
    """
    seen = "" if spills is None else str(spills)
    return Operation(_MANAGE, ["filled", workspace, tenant, seen], bool)


def _nothing(_reply: object) -> None:
    return None


def _read_thirsty(reply: list[Any]) -> list[Thirsty]:
    fives = zip(*(reply[part::5] for part in range(5)), strict=True)
    return [
        Thirsty(text(queue), text(workspace), text(tenant), int(room), int(spills))
        for queue, workspace, tenant, room, spills in fives
    ]
