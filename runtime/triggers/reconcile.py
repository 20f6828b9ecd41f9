"""Brings the triggers of some tenants on record to what is in force now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import DictRow

from runtime.config.store import ElementRow
from runtime.db import Database
from runtime.tenancy import Owner, Scope
from runtime.triggers.live import Link, Trigger, triggers_of
from runtime.triggers.schedules import sync_schedules
from runtime.triggers.store import (
    flows_of,
    known_triggers,
    links_of,
    live_tenants,
    lock_tenants,
    retire,
    write,
)

__all__ = ["Reconciled", "reconcile"]


class Reconciled(NamedTuple):
    """How many triggers, and how many schedules, are not what they were."""

    triggers: int = 0
    schedules: int = 0


async def reconcile(
    database: Database, workspace_id: UUID, tenants: Sequence[UUID], flow_key: str | None = None
) -> Reconciled:
    """Do so for tenants of one workspace, for one flow or all, and for their schedules.

    One transaction, so a hundred tenants or so at a time. Any number of processes may.
    """
    scope = Scope.worker(Owner(workspace_id, tenant) for tenant in tenants)
    async with database.transaction(scope) as connection:
        await lock_tenants(connection, tenants)
        known = await known_triggers(connection, tenants, flow_key)
        live = await live_tenants(connection, tenants)
        flows = await flows_of(connection, workspace_id, tenants, flow_key)
        links = await links_of(connection, workspace_id, tenants) if flows else {}
        wanted = {each.id.uuid: each for each in _wanted(live, flows, links)}
        changed = [each for id_, each in wanted.items() if _differs(each, known.get(id_))]
        gone = {
            id_: reason
            for id_, row in known.items()
            if id_ not in wanted and (reason := _why_gone(row, live)) != row["reason"]
        }
        await write(connection, workspace_id, changed)
        await retire(connection, gone)
        scheduled = await sync_schedules(connection, tenants, flow_key)
    return Reconciled(len(changed) + len(gone), scheduled)


def _wanted(
    tenants: frozenset[UUID], flows: Sequence[ElementRow], links: Mapping[UUID, list[Link]]
) -> Iterator[Trigger]:
    shared: defaultdict[str, list[ElementRow]] = defaultdict(list)
    own: defaultdict[UUID, defaultdict[str, list[ElementRow]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in flows:
        (shared if row.tenant_id is None else own[row.tenant_id])[row.key].append(row)
    obstacles: dict[str, str | None] = {}
    for tenant in tenants:
        mine = own[tenant]
        keyed = ([*shared.get(key, ()), *mine.get(key, ())] for key in {**shared, **mine})
        yield from triggers_of(tenant, keyed, links.get(tenant, ()), obstacles)


def _differs(wanted: Trigger, known: DictRow | None) -> bool:
    return known is None or (
        (wanted.reason, wanted.revision, wanted.type, wanted.integration_id)
        != (known["reason"], known["revision"], known["type"], known["integration_id"])
    )


def _why_gone(known: DictRow, live: frozenset[UUID]) -> str:
    if known["tenant_id"] not in live:
        return "The tenant is archived."
    if known["is_disconnected"]:
        return "The connection is archived."
    return "The flow is archived, or no longer has this trigger here."
