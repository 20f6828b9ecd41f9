"""Published versions of an element: which there are, and what one of them says.

An integration names a version of its connector: `dev` is the connector as it stands, `latest` the
highest that was published, and a number exactly that one, whatever is published after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import BadRequestError, DependencyError

__all__ = ["DEV", "LATEST", "VERSION", "check_version", "latest_of", "public_version", "version_of"]

DEV: Final = "dev"
LATEST: Final = "latest"
#: Numbers of ten digits at most, and what comes before a release (semver.org, without builds).
NUMBER: Final = (
    r"(?:0|[1-9]\d{0,9})\.(?:0|[1-9]\d{0,9})\.(?:0|[1-9]\d{0,9})"
    r"(?:-[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*)?"
)
#: What an integration may name.
VERSION: Final = rf"^(?:{DEV}|{LATEST}|{NUMBER})$"
_LONGEST = 100

_ALL = (
    "SELECT id, version, spec, source_revision, created_at, archived_at FROM element_versions"
    " WHERE workspace_id = %s AND kind = %s AND key = %s"
)


def check_version(value: Any) -> str:
    """Return a number under which something can be published; BadRequestError if it is none."""
    if isinstance(value, str) and len(value) <= _LONGEST and re.fullmatch(NUMBER, value):
        return value
    raise BadRequestError(
        "A version is a number such as 1.2.3 or 1.2.3-beta.1.",
        data={"errors": [{"path": "/version", "message": "is no version"}]},
    )


def latest_of(versions: Iterable[str]) -> str | None:
    """Return the highest version; those before a release count only if there is no release."""
    return max(versions, key=_order, default=None)


async def version_of(
    database: AsyncConnection[DictRow], workspace_id: UUID, kind: str, key: str, version: str
) -> DictRow:
    """Return a published version, an archived one too if it is named; DependencyError for none."""
    named = "" if version == LATEST else " AND version = %s"
    live = " AND archived_at IS NULL" if version == LATEST else ""
    values = (workspace_id, kind, key, *(() if version == LATEST else (version,)))
    rows = await (await database.execute(_ALL + named + live, values)).fetchall()
    found = latest_of(row["version"] for row in rows)
    if found is None:
        what = "published version" if version == LATEST else f"version {version[:100]}"
        raise DependencyError(
            f"The {kind} {key!r} has no {what}.",
            data={"missing": "version", "kind": kind, "key": key, "version": version[:100]},
        )
    return next(row for row in rows if row["version"] == found)


def public_version(row: Mapping[str, Any], *, is_latest: bool) -> dict[str, Any]:
    """Return a version as the API lists it."""
    return {
        "id": str(row["id"]),
        "version": row["version"],
        "isLatest": is_latest,
        "sourceRevision": row["source_revision"],
        "createdAt": row["created_at"],
        "archivedAt": row["archived_at"],
    }


def _order(version: str) -> tuple[Any, ...]:
    """Return what versions are ordered by (semver.org, 11)."""
    numbers, _, early = version.partition("-")
    release = tuple(int(number) for number in numbers.split("."))
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in early.split(".") if early
    )
    return not early, release, parts
