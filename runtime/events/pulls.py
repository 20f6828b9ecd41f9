"""Looks at an app for what changed: at everything, or at what the app says is new.

Each page is one transaction: what records are like now, the events of what changed, and how far the
look has come. So whoever takes it over goes on at the next page, and says nothing twice. Nothing is
gone before a look at everything has come to its end; and where the app can be asked for a single
record, it is asked before anybody is told that the record was deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.actions.collections import Collection, RecordPage, collection_of
from runtime.actions.connected import Connected
from runtime.actions.data_records import DataRecord
from runtime.actions.operations import AppCalls, malformed
from runtime.db import Database
from runtime.errors import BadRequestError, ConnectionFailedError, DependencyError, NotFoundError
from runtime.events.log import NewEvent, keep_events
from runtime.events.log import Place as EventPlace
from runtime.events.records import Changes, Place, forget, mark_seen, missing, note_page
from runtime.moments import parse_moment
from runtime.runs.states import Claim
from runtime.tenancy import Scope

__all__ = ["Pull", "fail_pull"]

#: Pages of one look, and pages in a row that have nothing which was not on one before.
_MOST_PAGES, _MOST_STALE = 100_000, 5
#: Records that are looked for one by one before they count as deleted, in one step.
_CHECKED = 20
#: Records that are forgotten in one step where nobody has to be asked.
_FORGOTTEN = 1000
#: By how much our clock may be ahead of the app's.
_SKEW = timedelta(minutes=5)
_LONGEST_ID = 1000

_LOAD = """
SELECT p.id, p.status, p.is_full_scan, p.scan, p.progress, p.subscription_id, p.started_at,
    s.config, s.baseline_at, s.changed_until
FROM external_pulls AS p JOIN external_subscriptions AS s
    ON s.id = p.subscription_id AND s.tenant_id = p.tenant_id
WHERE p.id = %s AND p.tenant_id = %s AND p.run_id = %s
"""
_NUMBER = """
UPDATE external_subscriptions SET scans = scans + %s WHERE id = %s RETURNING scans
"""
_BEGIN = """
UPDATE external_pulls SET status = 'running', started_at = now(), scan = %s
WHERE id = %s AND status = 'queued' RETURNING started_at
"""
# Whoever was superseded finds that the number of steps is another one.
_ADVANCE = """
UPDATE external_pulls SET progress = %(progress)s::jsonb, records = records + %(records)s,
    events = events + %(events)s
WHERE id = %(id)s AND status = 'running'
    AND coalesce((progress->>'steps')::int, 0) = %(steps)s
"""
_END = """
UPDATE external_pulls SET status = 'success', ended_at = now()
WHERE id = %s AND status = 'running'
"""
_ENDED = """
UPDATE external_subscriptions SET baseline_at = coalesce(baseline_at, now()), failures = 0,
    error = NULL, changed_until = coalesce(%s, changed_until), updated_at = now()
WHERE id = %s
"""
_FAIL = """
UPDATE external_pulls SET status = 'error', error = %s::jsonb, ended_at = now()
WHERE id = %s AND tenant_id = %s AND run_id = %s AND status IN ('queued', 'running')
RETURNING subscription_id
"""
_FAILED = """
UPDATE external_subscriptions SET failures = failures + 1, error = %s::jsonb, updated_at = now(),
    next_pull_at = now() + coalesce(pull_interval, full_sync_interval, 3600)
        * power(2, least(failures, 5)) * interval '1 second'
WHERE id = %s
"""


@dataclass(slots=True)
class _Progress:
    """How far a look has come."""

    steps: int = 0
    #: Whether the list is at its end, and what it did not have is looked at.
    is_listed: bool = False
    cursor: str | None = None
    stale: int = 0
    #: The latest change that was seen.
    until: str | None = None
    #: The record behind which what is missing has still to be looked at.
    after: str = ""


@dataclass(slots=True)
class Pull:
    """One look, in the run that takes it."""

    database: Database
    claim: Claim
    connected: Connected
    calls: AppCalls
    _row: DictRow | None = field(default=None, init=False)
    _progress: _Progress = field(default_factory=_Progress, init=False)
    _collection: Collection | None = field(default=None, init=False)

    async def step(self) -> bool:
        """Look at the next page, or at some of what is gone; return whether there is more.

        Raises what the app's answers stand for.
        """
        row = await self._loaded()
        if row is None or row["status"] not in ("queued", "running"):
            return False
        if not self._progress.is_listed:
            await self._list(row)
            return True
        if row["is_full_scan"] and await self._look_for_gone(row):
            return True
        await self._end(row)
        return False

    # --- what there is ------------------------------------------------------------------------

    async def _list(self, row: DictRow) -> None:
        before = self._progress
        page = await self._page(row)
        for record in page.records:
            if len(record.id) > _LONGEST_ID or "\x00" in record.id:
                raise malformed("A record's id is too long, or holds a NUL character.")
        async with self._transaction() as connection:
            changes = await note_page(connection, self._place(row), page.records)
            events = _events_of(row, changes)
            stale = before.stale + 1 if page.records and not changes.fresh else 0
            after = _Progress(
                steps=before.steps + 1,
                is_listed=page.cursor is None,
                cursor=page.cursor,
                stale=stale if row["is_full_scan"] else 0,
                until=_latest(before.until, page.records),
            )
            await self._advance(connection, row, after, events, len(page.records))
        if after.stale > _MOST_STALE or after.steps > _MOST_PAGES:
            raise ConnectionFailedError(
                "The list leads in a circle, or has no end: the outside app shows the same records"
                " again and again.",
                data={"reason": "cursor_loop", "pages": after.steps},
            )

    async def _page(self, row: DictRow) -> RecordPage:
        collection = self._of(row)
        if row["is_full_scan"]:
            return await collection.list(cursor=self._progress.cursor)
        method = collection.spec.changed_since
        overlap = timedelta(seconds=method.overlap if method else 0)
        since = _earlier(row["changed_until"], overlap)
        return await collection.changed(since, self._progress.cursor)

    # --- what is gone -------------------------------------------------------------------------

    async def _look_for_gone(self, row: DictRow) -> bool:
        """Look at some of what the list did not have; return whether there was any."""
        collection, before = self._of(row), self._progress
        is_told = row["config"]["type"] == "data-record-deleted" and row["baseline_at"] is not None
        is_asked = is_told and collection.spec.find_by_id is not None
        place = self._place(row)
        async with self._transaction() as connection:
            limit = _CHECKED if is_asked else _FORGOTTEN
            candidates = await missing(connection, place, before.after, limit)
        if not candidates:
            return False
        there = await self._still_there(collection, candidates) if is_asked else []
        gone = [each for each in candidates if each not in there]
        events = [NewEvent({"record": {"id": each}}) for each in gone] if is_told else []
        after = _Progress(
            steps=before.steps + 1, is_listed=True, until=before.until, after=candidates[-1]
        )
        async with self._transaction() as connection:
            await forget(connection, place, gone)
            await mark_seen(connection, place, there)
            await self._advance(connection, row, after, events, 0)
        return True

    async def _still_there(self, collection: Collection, candidates: Sequence[str]) -> list[str]:
        """Return those that the app has after all: a list may shift while it is read."""
        there = []
        for record_id in candidates:
            try:
                await collection.find(record_id)
            except NotFoundError:
                continue
            there.append(record_id)
        return there

    # --- on record ----------------------------------------------------------------------------

    async def _advance(
        self,
        connection: AsyncConnection[DictRow],
        row: DictRow,
        after: _Progress,
        events: Sequence[NewEvent],
        records: int,
    ) -> None:
        values = {
            "id": row["id"],
            "steps": self._progress.steps,
            "records": records,
            "events": len(events),
            "progress": jsontext.dumps(
                {name: getattr(after, name) for name in _Progress.__dataclass_fields__}
            ),
        }
        cursor = await connection.execute(_ADVANCE, values)
        if not cursor.rowcount:
            raise asyncio.CancelledError  # another worker has taken the run over
        if events:
            place = EventPlace(
                "external",
                row["subscription_id"],
                connection_id=self.connected.id,
                integration_id=self.connected.integration_id,
            )
            await keep_events(connection, self.claim.owner, place, events, self.claim.run_id)
        self._progress = after

    async def _end(self, row: DictRow) -> None:
        until = self._progress.until
        if until is None and row["changed_until"] is None:
            # The app's records say nothing of their time, so it is ours, with room for its clock.
            until = (row["started_at"] - _SKEW).isoformat()
        async with self._transaction() as connection:
            cursor = await connection.execute(_END, (row["id"],))
            if cursor.rowcount:
                await connection.execute(_ENDED, (until, row["subscription_id"]))
        self._row = None

    async def _loaded(self) -> DictRow | None:
        if self._row is not None:
            return self._row
        pull_id = UUID(self.claim.request["pullId"])
        async with self._transaction() as connection:
            values = (pull_id, self.claim.owner.tenant_id, self.claim.run_id)
            row: DictRow | None = await (await connection.execute(_LOAD, values)).fetchone()
            if row is not None and row["status"] == "queued":
                await self._begin(connection, row)
        if row is not None:
            self._progress = _Progress(**row["progress"])
            self._row = row
        return row

    async def _begin(self, connection: AsyncConnection[DictRow], row: DictRow) -> None:
        values = (int(row["is_full_scan"]), row["subscription_id"])
        numbered = await (await connection.execute(_NUMBER, values)).fetchone()
        assert numbered is not None  # noqa: S101 - it was just read
        row["scan"] = numbered["scans"]
        begun = await (await connection.execute(_BEGIN, (row["scan"], row["id"]))).fetchone()
        if begun is None:
            raise asyncio.CancelledError
        row["status"], row["started_at"] = "running", begun["started_at"]

    def _of(self, row: DictRow) -> Collection:
        if self._collection is None:
            source = row["config"].get("dataSource")
            if source is None:
                raise DependencyError("This subscription has nothing to pull.")
            key = source["collectionKey"]
            spec = collection_of(self.connected.definition, key)
            parameters = source.get("collectionParameters") or {}
            self._collection = Collection(self.calls, key, spec, parameters)
        return self._collection

    def _place(self, row: DictRow) -> Place:
        return Place(self.claim.owner, row["subscription_id"], row["scan"])

    def _transaction(self) -> Any:
        return self.database.transaction(Scope.worker([self.claim.owner]))


async def fail_pull(database: Database, claim: Claim, error: dict[str, Any]) -> None:
    """Note that a look failed: what it saw counts, what it did not see does not."""
    text, pull_id = jsontext.dumps(error), UUID(claim.request["pullId"])
    async with database.transaction(Scope.worker([claim.owner])) as connection:
        values = (text, pull_id, claim.owner.tenant_id, claim.run_id)
        row = await (await connection.execute(_FAIL, values)).fetchone()
        if row is not None:
            await connection.execute(_FAILED, (text, row["subscription_id"]))


def _events_of(row: DictRow, changes: Changes) -> list[NewEvent]:
    """Return the events of a page; the first look at everything only notes what there is."""
    if row["baseline_at"] is None:
        return []
    wanted = {"data-record-created": changes.created, "data-record-updated": changes.updated}
    records = wanted.get(row["config"]["type"], [])
    return [NewEvent({"record": _shown(record)}) for record in records]


def _shown(record: DataRecord) -> dict[str, Any]:
    shown = record.public()
    return shown if record.raw == record.fields else {**shown, "rawFields": record.raw}


def _latest(until: str | None, records: Sequence[DataRecord]) -> str | None:
    """Return the latest of the times at which records were changed, and of one before."""
    latest = _moment(until)
    for record in records:
        at = _moment(record.updated_time or record.created_time)
        if at is not None and (latest is None or at > latest):
            latest = at
    return latest.isoformat() if latest is not None else None


def _earlier(text: str | None, by: timedelta) -> str | None:
    at = _moment(text)
    return text if at is None else (at - by).isoformat().replace("+00:00", "Z")


def _moment(text: str | None) -> datetime | None:
    try:
        return parse_moment(text, "time")
    except BadRequestError:
        return None
