"""Works off the notes of what changed, so that the right triggers are live within a second.

A note about one tenant is done at once; one about a whole workspace goes on a piece at a time
between those, so that ten thousand tenants keep nobody waiting. Whoever dies over a note leaves it
to the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import structlog
from psycopg.rows import DictRow
from redis.asyncio import Redis

from runtime.changes import Changes
from runtime.db import Database
from runtime.signals import announce_due
from runtime.triggers.reconcile import Reconciled, reconcile

__all__ = ["reconcile_triggers", "reconcile_when_told"]

log = structlog.get_logger()

#: Notes that are taken at once, and tenants that are seen to in one transaction.
_NOTES, _TENANTS = 500, 100
#: Seconds after which a note that somebody took is anybody's again.
_LEASE = 30
#: Seconds between looks for notes of which nobody spoke.
_LOOK = 1.0
#: Tables whose changes leave notes; None stands for all.
_NOTED = (None, "elements", "connections", "tenants")

_TAKE = """
UPDATE trigger_changes AS c SET taken_until = now() + make_interval(secs => %(lease)s)
FROM (
    SELECT id FROM trigger_changes
    WHERE (tenant_id IS NULL) = %(wide)s AND (taken_until IS NULL OR taken_until < now())
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due WHERE c.id = due.id
RETURNING c.id, c.workspace_id, c.tenant_id, c.flow_key, c.after
"""

# What a note that nobody has begun with sees to as well: it reads what they were written with.
_ABSORB = """
DELETE FROM trigger_changes WHERE id IN (
    SELECT c.id FROM trigger_changes AS c JOIN trigger_changes AS kept ON kept.id = %s
    WHERE kept.after IS NULL AND c.id <> kept.id AND c.tenant_id IS NULL AND c.after IS NULL
        AND c.workspace_id IS NOT DISTINCT FROM kept.workspace_id
        AND (kept.flow_key IS NULL OR c.flow_key = kept.flow_key)
        AND (c.taken_until IS NULL OR c.taken_until < now())
    FOR UPDATE OF c SKIP LOCKED)
"""

_NEXT_TENANTS = """
SELECT id, workspace_id FROM tenants
WHERE (%(workspace)s::uuid IS NULL OR workspace_id = %(workspace)s)
    AND (%(after)s::uuid IS NULL OR id > %(after)s) AND archived_at IS NULL
ORDER BY id LIMIT %(limit)s
"""


async def reconcile_triggers(database: Database, redis: Redis) -> int:
    """Work off all notes that there are; return how many triggers changed. Any scheduler may."""
    changed = 0
    while True:
        notes = await _take(database, wide=False, limit=_NOTES)
        done = await _see_to(database, notes)
        wide = await _take(database, wide=True, limit=1)
        for note in wide:
            await _absorb(database, note)
            done += await _next_piece(database, note)
        if any(each.schedules for each in done):
            await announce_due(redis)
        changed += sum(each.triggers for each in done)
        if not notes and not wide:
            return changed


async def reconcile_when_told(database: Database, redis: Redis, changes: Changes) -> None:
    """Do so whenever something changed that leaves notes, and each second, until cancelled.

    A tenant's first token is a change of which nobody is told.
    """
    told = asyncio.Event()
    changes.heed(lambda change: told.set() if change.table in _NOTED else None)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await told.wait()
        told.clear()
        try:
            await reconcile_triggers(database, redis)
        except Exception as error:
            log.exception("triggers.not_reconciled", error=type(error).__name__)


async def _take(database: Database, *, wide: bool, limit: int) -> list[DictRow]:
    async with database.unscoped("scheduler") as connection:
        cursor = await connection.execute(_TAKE, {"lease": _LEASE, "wide": wide, "limit": limit})
        return await cursor.fetchall()


async def _absorb(database: Database, note: DictRow) -> None:
    """Drop notes that this one makes needless: a manager's hundred changes are one look."""
    async with database.unscoped("scheduler") as connection:
        await connection.execute(_ABSORB, (note["id"],))


async def _see_to(database: Database, notes: Sequence[DictRow]) -> list[Reconciled]:
    """See to the tenants of notes, each once whatever number of notes there is about it."""
    flows: defaultdict[tuple[UUID, UUID], set[str | None]] = defaultdict(set)
    for note in notes:
        flows[note["workspace_id"], note["tenant_id"]].add(note["flow_key"])
    alike: defaultdict[tuple[UUID, str | None], list[UUID]] = defaultdict(list)
    for (workspace, tenant), keys in flows.items():
        alike[workspace, keys.pop() if len(keys) == 1 else None].append(tenant)
    done = [
        await reconcile(database, workspace, tenants[start : start + _TENANTS], key)
        for (workspace, key), tenants in alike.items()
        for start in range(0, len(tenants), _TENANTS)
    ]
    await _done(database, [note["id"] for note in notes])
    return done


async def _next_piece(database: Database, note: DictRow) -> list[Reconciled]:
    """See to the next tenants of those that a note is about, and put it back or away."""
    async with database.unscoped("scheduler") as connection:
        cursor = await connection.execute(
            _NEXT_TENANTS,
            {"workspace": note["workspace_id"], "after": note["after"], "limit": _TENANTS},
        )
        rows = await cursor.fetchall()
    tenants: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for row in rows:
        tenants[row["workspace_id"]].append(row["id"])
    done = [
        await reconcile(database, workspace, some, note["flow_key"])
        for workspace, some in tenants.items()
    ]
    if len(rows) < _TENANTS:
        await _done(database, [note["id"]])
        return done
    async with database.unscoped("scheduler") as connection:
        await connection.execute(
            "UPDATE trigger_changes SET after = %s, taken_until = NULL WHERE id = %s",
            (rows[-1]["id"], note["id"]),
        )
    return done


async def _done(database: Database, notes: Sequence[UUID]) -> None:
    if not notes:
        return
    async with database.unscoped("scheduler") as connection:
        await connection.execute("DELETE FROM trigger_changes WHERE id = ANY(%s)", (list(notes),))
