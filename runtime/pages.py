"""One page of a list: the rows that fit, in order, and one more to show that there are more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.moments import uuid_floor

__all__ = ["newest_tests", "newest_values", "page", "tests_of"]


async def page(
    connection: AsyncConnection[DictRow],
    select: str,
    tests: Mapping[str, str],
    values: Mapping[str, Any],
    *,
    by: str,
    limit: int,
) -> list[DictRow]:
    """Return what `select` finds and all tests pass, one more than `limit` if there are more.

    `tests` is SQL by the name of the value that it is about, `%(name)s` in it; a test whose value
    is None is left out. All SQL is the caller's own: what users send are values only.
    """
    given = {name: values[name] for name in tests if values.get(name) is not None}
    where = " AND ".join(tests[name] for name in given)
    cursor = await connection.execute(
        f"{select} WHERE {where} ORDER BY {by} LIMIT %(_limit)s",
        {**given, "_limit": limit + 1},
    )
    return await cursor.fetchall()


def tests_of(columns: Mapping[str, Any], table: str) -> dict[str, str]:
    """Return tests for equality with columns of a table; which columns is the caller's to say."""
    return {name: f"{table}.{name} = %({name})s" for name in columns}


def newest_tests(table: str) -> dict[str, str]:
    """Return tests for a list of a workspace's rows by time; see `newest_values`."""
    return {
        "workspace": f"{table}.workspace_id = %(workspace)s",
        "before": f"{table}.id < %(before)s",
        "since": f"{table}.id >= %(since)s",
        "until": f"{table}.id < %(until)s",
    }


def newest_values(
    workspace_id: UUID,
    before: UUID | None,
    span: tuple[datetime | None, datetime | None] = (None, None),
) -> dict[str, Any]:
    """Return what `newest_tests` compare with: rows before an id, and between two moments."""
    since, until = (uuid_floor(moment) if moment else None for moment in span)
    return {"workspace": workspace_id, "before": before, "since": since, "until": until}
