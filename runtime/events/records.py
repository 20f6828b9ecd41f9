"""What became of an app's records since they were seen last, by a hash of their fields."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.actions.data_records import DataRecord
from runtime.tenancy import Owner

__all__ = ["Changes", "Place", "forget", "mark_seen", "missing", "note_page"]

_BEFORE = """
SELECT record_id, hash, scan FROM event_records
WHERE subscription_id = %s AND record_id = ANY(%s) FOR UPDATE
"""
_UPSERT = """
INSERT INTO event_records (subscription_id, record_id, workspace_id, tenant_id, hash, scan)
SELECT %(subscription)s, r.id, %(workspace)s, %(tenant)s, r.hash, %(scan)s
FROM unnest(%(ids)s::text[], %(hashes)s::bytea[]) AS r(id, hash) ORDER BY r.id
ON CONFLICT (subscription_id, record_id) DO UPDATE SET hash = excluded.hash, scan = excluded.scan
"""


class Place(NamedTuple):
    """Whose records these are, and which look at everything it is."""

    owner: Owner
    subscription_id: UUID
    scan: int


@dataclass(slots=True)
class Changes:
    """What a page of records amounts to."""

    created: list[DataRecord]
    updated: list[DataRecord]
    #: How many were not met before in this look.
    fresh: int


async def note_page(
    connection: AsyncConnection[DictRow], place: Place, records: Sequence[DataRecord]
) -> Changes:
    """Note what records are like now, and return how that differs from before."""
    newest = {record.id: record for record in records}
    if not newest:
        return Changes([], [], 0)
    hashes = {record_id: _hash(record) for record_id, record in newest.items()}
    cursor = await connection.execute(_BEFORE, (place.subscription_id, list(newest)))
    before = {row["record_id"]: row for row in await cursor.fetchall()}
    await connection.execute(
        _UPSERT,
        {
            "subscription": place.subscription_id,
            "workspace": place.owner.workspace_id,
            "tenant": place.owner.tenant_id,
            "scan": place.scan,
            "ids": list(hashes),
            "hashes": list(hashes.values()),
        },
    )
    created = [record for key, record in newest.items() if key not in before]
    updated = [
        record
        for key, record in newest.items()
        if key in before and bytes(before[key]["hash"]) != hashes[key]
    ]
    fresh = sum(key not in before or before[key]["scan"] != place.scan for key in newest)
    return Changes(created, updated, fresh)


async def missing(
    connection: AsyncConnection[DictRow], place: Place, after: str, limit: int
) -> list[str]:
    """Return the next records, by id, that were there before and that this look did not meet."""
    cursor = await connection.execute(
        "SELECT record_id FROM event_records WHERE subscription_id = %s AND scan < %s"
        " AND record_id > %s ORDER BY record_id LIMIT %s",
        (place.subscription_id, place.scan, after, limit),
    )
    return [row["record_id"] for row in await cursor.fetchall()]


async def mark_seen(
    connection: AsyncConnection[DictRow], place: Place, record_ids: Sequence[str]
) -> None:
    """Note that records are there although the list did not have them."""
    await connection.execute(
        "UPDATE event_records SET scan = %s WHERE subscription_id = %s AND record_id = ANY(%s)",
        (place.scan, place.subscription_id, list(record_ids)),
    )


async def forget(
    connection: AsyncConnection[DictRow], place: Place, record_ids: Sequence[str]
) -> None:
    """Forget records that are gone."""
    await connection.execute(
        "DELETE FROM event_records WHERE subscription_id = %s AND record_id = ANY(%s)",
        (place.subscription_id, list(record_ids)),
    )


def _hash(record: DataRecord) -> bytes:
    fields: Any = record.fields
    try:
        text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        text = orjson.dumps(jsontext.storable(fields), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).digest()[:16]
