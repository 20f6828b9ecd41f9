"""Loads the public catalogue: what the `universe/` files say is what the universe layer holds.

    universe/<app>/external-app.yaml      the outside app
    universe/<app>/connector.yaml         how to talk to it; connector-<variant>.yaml another way
    universe/<app>/data/<key>.yaml        a data collection that each of its connectors has
    universe/<app>/operations/<key>.yaml  an operation likewise
    universe/<app>/events/<key>.yaml      an event that it tells of by webhook likewise
    universe/<app>/actions/<key>.yaml     an action, offered over each of the app's connectors

The owner loads it after a migration. Doing it again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from runtime.config.element_keys import check_key
from runtime.config.kinds import kind_of, parse_spec
from runtime.config.yaml_files import read_yaml
from runtime.errors import BadRequestError, ConfigurationError

__all__ = ["LoadReport", "load_universe", "read_universe"]

Check = Callable[[str, dict[str, Any], str], object]

#: Kind, key and connector: what tells elements of the universe apart.
Identity = tuple[str, str, str | None]


@dataclass(slots=True)
class LoadReport:
    """What a load did, by `kind:key`, with the connector where there is one."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts, for an operator."""
        parts = ("created", "updated", "archived", "unchanged")
        return ", ".join(f"{len(getattr(self, part))} {part}" for part in parts)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One element as the files have it."""

    kind: str
    key: str
    #: Key of the connector that it belongs to.
    app: str | None
    spec: dict[str, Any]

    @property
    def identity(self) -> Identity:
        return self.kind, self.key, self.app

    @property
    def hash(self) -> str:
        return hashlib.sha256(orjson.dumps(self.spec, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class _Stored:
    """One element as the database has it."""

    id: UUID
    source_hash: str | None
    is_archived: bool


async def load_universe(
    connection: AsyncConnection[Any], folder: Path, *, check: Check = parse_spec
) -> LoadReport:
    """Bring the universe layer to what the files say, in one transaction, and tell what changed.

    `connection` is the owner's. Nothing is written unless every file is valid; ConfigurationError
    names the file and the path in it. Elements whose file is gone are archived, and come back
    under the same id with the file.
    """
    entries = read_universe(folder, check=check)
    report = LoadReport()
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('universe', 0))")
        stored = await _stored(cursor)
        for entry in entries:
            await _write(cursor, entry, stored.pop(entry.identity, None), report)
        for identity, gone in stored.items():
            if not gone.is_archived:
                await cursor.execute(
                    "UPDATE elements SET archived_at = now(), updated_at = now(),"
                    " revision = revision + 1 WHERE id = %s",
                    (gone.id,),
                )
                report.archived.append(_label(identity))
    return report


def read_universe(folder: Path, *, check: Check = parse_spec) -> Sequence[Any]:
    """Return every element of the files, checked; ConfigurationError names the file."""
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder} to load the universe from.")
    entries: dict[Identity, _Entry] = {}
    for app in sorted(path for path in folder.iterdir() if path.is_dir()):
        for name, entry in _entries_of(app, folder):
            if entry.identity in entries:
                raise ConfigurationError(f"{name}: {_label(entry.identity)} is there twice.")
            _check(name, entry, check)
            entries[entry.identity] = entry
    return list(entries.values())


def _entries_of(app: Path, folder: Path) -> Iterator[tuple[str, _Entry]]:
    """Yield the elements of one app's folder, each with the name of its file."""
    about = app / "external-app.yaml"
    if about.exists():
        name, spec = _read(about, folder)
        yield name, _Entry("external-app", str(spec.pop("key", app.name)), None, spec)
    connectors = []
    shared = {part: dict(_parts(app, part, folder)) for part in ("operations", "data", "events")}
    for path in sorted(app.glob("connector*.yaml"), key=lambda path: path.stem):
        name, spec = _read(path, folder)
        for part, members in shared.items():
            if members:
                spec[part] = {**members, **spec.get(part, {})}
        connectors.append(str(spec.get("key")))
        yield name, _Entry("connector", connectors[-1], None, spec)
    for path in sorted(app.glob("actions/*.yaml")):
        name, spec = _read(path, folder)
        if spec.pop("key", path.stem) != path.stem:
            raise ConfigurationError(f"{name}: /key must be the file's name, {path.stem}.")
        for connector in connectors:
            yield name, _Entry("action", path.stem, connector, spec)


def _parts(app: Path, part: str, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what all connectors of an app have: key and specification."""
    for path in sorted(app.glob(f"{part}/*.yaml")):
        yield path.stem, _read(path, folder)[1]


def _read(path: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    name = path.relative_to(folder.parent).as_posix()
    return name, read_yaml(path, name)


def _check(name: str, entry: _Entry, check: Check) -> None:
    try:
        check_key(entry.key)
        check(entry.kind, entry.spec, f"{name}: the {kind_of(entry.kind).singular}")
    except BadRequestError as invalid:
        raise ConfigurationError(f"{name}: /key: {invalid.message}") from None
    except ConfigurationError as invalid:
        message = (
            invalid.message if invalid.message.startswith(name) else f"{name}: {invalid.message}"
        )
        raise ConfigurationError(message, data={**invalid.data, "file": name}) from None


async def _stored(cursor: AsyncCursor[DictRow]) -> dict[Identity, _Stored]:
    # A live row stands before an archived one of the same identity.
    await cursor.execute(
        "SELECT DISTINCT ON (kind, key, app) id, kind, key, app, source_hash,"
        " archived_at IS NOT NULL AS is_archived FROM elements WHERE layer = 'universe'"
        " ORDER BY kind, key, app, archived_at DESC NULLS FIRST"
    )
    return {
        (row["kind"], row["key"], row["app"]): _Stored(
            row["id"], row["source_hash"], row["is_archived"]
        )
        for row in await cursor.fetchall()
    }


async def _write(
    cursor: AsyncCursor[DictRow], entry: _Entry, known: _Stored | None, report: LoadReport
) -> None:
    label = _label(entry.identity)
    if known is None:
        await cursor.execute(
            "INSERT INTO elements (id, kind, layer, key, app, spec, source_hash)"
            " VALUES (%s, %s, 'universe', %s, %s, %s, %s)",
            (
                uuid_utils.compat.uuid7(),
                *(entry.kind, entry.key, entry.app),
                *(Jsonb(entry.spec), entry.hash),
            ),
        )
        report.created.append(label)
    elif known.source_hash == entry.hash and not known.is_archived:
        report.unchanged.append(label)
    else:
        await cursor.execute(
            "UPDATE elements SET spec = %s, source_hash = %s, archived_at = NULL,"
            " updated_at = now(), revision = revision + 1 WHERE id = %s",
            (Jsonb(entry.spec), entry.hash, known.id),
        )
        report.updated.append(label)


def _label(identity: Identity) -> str:
    kind, key, app = identity
    return f"{kind}:{app}.{key}" if app else f"{kind}:{key}"
