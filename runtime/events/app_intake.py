"""Takes in app events: each one's tenant is found, its shape is checked, and it is kept.

What is wrong with one event is that event's own answer and does not keep the others out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.errors import BadRequestError, InputInvalidError, NotFoundError, VesicleError
from runtime.events.app_types import AppEventType
from runtime.runs.states import NewRun
from runtime.tenancy import Owner

__all__ = ["MOST", "Told", "by_owner", "events_of", "launch_run", "sort_out"]

#: Events of one post.
MOST = 1000


@dataclass(slots=True)
class Told:
    """An event that was told, and what became of it."""

    event: Any
    owner: Owner | None = None
    id: UUID | None = None
    is_repeat: bool = False
    error: VesicleError | None = None

    def answer(self) -> dict[str, Any]:
        """Return what whoever told it hears."""
        if self.error is not None:
            return {"status": "error", "error": self.error.body()}
        return {"status": "accepted", "id": str(self.id), "isRepeat": self.is_repeat}


def events_of(body: Any) -> list[Any]:
    """Return the events of a post: one, or a list of them. Raises BadRequestError."""
    events = body if isinstance(body, list) else [body]
    if body is None or not all(isinstance(event, dict) for event in events):
        raise BadRequestError(
            "An event is a JSON object; send one, or an array of them.", data={"path": "/"}
        )
    if len(events) > MOST:
        raise BadRequestError(
            f"At most {MOST} events come in one post; these are {len(events)}.",
            data={"path": "/", "events": len(events)},
        )
    return events


async def sort_out(
    connection: AsyncConnection[DictRow],
    workspace_id: UUID,
    kind: AppEventType,
    events: Sequence[Any],
    *,
    named: str | None,
    largest: int,
) -> list[Told]:
    """Check events and find the tenant of each; `named` is the tenant of all of them.

    Needs a scope that sees the workspace's tenants. `largest` is the most bytes of one event.
    """
    told = [Told(event) for event in events]
    wanted: dict[int, str] = {}
    for at, each in enumerate(told):
        try:
            each.event = kind.checked(each.event)
            _refuse_too_large(each.event, largest)
            wanted[at] = named if named is not None else kind.tenant_of(each.event)
        except VesicleError as error:
            each.error = error
    names = {name for name in wanted.values() if "\x00" not in name}
    found = await _tenants(connection, workspace_id, sorted(names))
    for at, name in wanted.items():
        tenant_id = found.get(name)
        if tenant_id is None:
            told[at].error = NotFoundError(f"There is no tenant {name[:100]!r}.")
        else:
            told[at].owner = Owner(workspace_id, tenant_id)
    return told


def by_owner(told: Sequence[Told]) -> dict[Owner, list[Told]]:
    """Return what can be kept, by tenant."""
    groups: dict[Owner, list[Told]] = defaultdict(list)
    for each in told:
        if each.owner is not None and each.error is None:
            groups[each.owner].append(each)
    return groups


def launch_run() -> NewRun:
    """Return the run that sees to events which were just kept."""
    return NewRun(
        id=uuid_utils.compat.uuid7(), kind="event-launch", queue="default", request={}, input=None
    )


def _refuse_too_large(event: Any, largest: int) -> None:
    size = len(jsontext.dumps(event))
    if size > largest:
        raise InputInvalidError(
            f"The event has {size:,} bytes; {largest:,} are the most.", data={"largest": largest}
        )


async def _tenants(
    connection: AsyncConnection[DictRow], workspace_id: UUID, names: list[str]
) -> dict[str, UUID]:
    """Return the live tenants with these keys or ids; a key wins over an id."""
    cursor = await connection.execute(
        "SELECT id, key FROM tenants WHERE workspace_id = %(workspace)s AND archived_at IS NULL"
        " AND (key = ANY(%(names)s) OR id = ANY(%(ids)s::uuid[]))",
        {"workspace": workspace_id, "names": names, "ids": _ids(names)},
    )
    rows = await cursor.fetchall()
    return {str(row["id"]): row["id"] for row in rows} | {row["key"]: row["id"] for row in rows}


def _ids(names: list[str]) -> list[UUID]:
    ids = []
    for name in names:
        try:
            ids.append(UUID(name))
        except ValueError:
            continue
    return ids
