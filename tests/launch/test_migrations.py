"""Migrations beside a system at work: short locks, and nothing that the release before lacks."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, text

import models
from launch import migrate as migration
from launch.embedded import databases
from launch.migrate import migrate
from runtime.clock import monotonic
from runtime.errors import ConfigurationError
from tests.chaos.next_release import migrate_ahead
from tests.launch.upgrade_rules import breaches

#: The last revision before the first release; those after it meet a release at work.
RELEASED = "0014"
#: Revisions that take away what the release before them has ceased to use.
CONTRACTING: set[str] = set()

_NAMES = itertools.count()


@pytest.fixture
def empty(platform):
    """A database of this test's own; yields its owner's URL."""
    name = f"migrated_{next(_NAMES)}"
    databases.create(platform.admin_url, name, None)
    yield platform.owner_url.rpartition("/")[0] + f"/{name}"
    databases.drop(platform.admin_url, name)


GOOD = [
    "CREATE TABLE things (id uuid)",
    "CREATE INDEX ix ON things (id)",
    "ALTER TABLE things ADD CONSTRAINT positive CHECK (true)",
    "ALTER TABLE runs ADD COLUMN note TEXT",
    "ALTER TABLE runs ADD COLUMN size INTEGER DEFAULT '0' NOT NULL",
    "CREATE INDEX CONCURRENTLY ix ON runs (id)",
    "CREATE INDEX ix ON ONLY runs (id)",
    "ALTER TABLE caps ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID",
    "ALTER TABLE runs DROP CONSTRAINT ck_runs_kind",
    "UPDATE caps SET amount = 1",
]
BAD = [
    "CREATE INDEX ix ON runs (id)",
    "CREATE UNIQUE INDEX ix ON runs (id)",
    "ALTER TABLE runs DROP COLUMN note",
    "ALTER TABLE runs RENAME note TO remark",
    "ALTER TABLE runs ADD COLUMN size INTEGER NOT NULL",
    "ALTER TABLE runs ADD COLUMN size INTEGER GENERATED ALWAYS AS (1) STORED",
    "ALTER TABLE runs ALTER COLUMN note TYPE VARCHAR(10)",
    "ALTER TABLE runs ALTER COLUMN note SET NOT NULL",
    "ALTER TABLE caps ADD CONSTRAINT positive CHECK (amount > 0)",
    "ALTER TABLE caps ADD CONSTRAINT one UNIQUE (key)",
    "ALTER TABLE caps ADD CONSTRAINT whose FOREIGN KEY (id) REFERENCES runs (id)",
    "DROP TABLE caps",
    "UPDATE runs SET note = ''",
]


def test_the_rules_know_good_from_bad():
    """Each bad statement breaks a rule, and none of the good ones does."""
    assert breaches(GOOD, large={"runs"}) == []
    assert [statement for statement in BAD if not breaches([statement], large={"runs"})] == []


def test_migrations_since_the_release_keep_the_rules(platform, empty):
    """Each newer revision only adds, locks briefly and rewrites no table that was there."""
    scripts = ScriptDirectory(str(Path(models.__file__).parent / "migrations"))
    newer = [one.revision for one in scripts.walk_revisions(RELEASED, "head")][-2::-1]
    engine = create_engine(empty.replace("postgresql://", "postgresql+psycopg://", 1))
    said = []
    listen = lambda _connection, _cursor, statement, *_: said.append(statement)  # noqa: E731
    event.listen(engine, "before_cursor_execute", listen)
    with engine.connect() as connection:
        _upgrade(connection, RELEASED)
        for revision in newer:
            before = _files(connection)
            said.clear()
            _upgrade(connection, revision)
            statements = list(said)
            after = _files(connection)
            rewritten = [name for name, file in before.items() if after.get(name, file) != file]
            assert rewritten == [], f"{revision} rewrites them under a lock"
            if revision not in CONTRACTING:
                assert breaches(statements, large=_partitioned(connection)) == [], revision
    engine.dispose()


def _upgrade(connection, revision):
    config = Config()
    config.set_main_option("script_location", str(Path(models.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.commit()


def _files(connection):
    """Return each table's file: a new one means that it was written anew."""
    rows = connection.execute(
        text(
            "SELECT relname, relfilenode FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    )
    found = {row[0]: row[1] for row in rows}
    connection.commit()
    return found


def _partitioned(connection):
    rows = connection.execute(text("SELECT relname FROM pg_class WHERE relkind = 'p'"))
    found = {row[0] for row in rows}
    connection.commit()
    return found


async def test_nobody_waits_long_behind_a_migration(platform, empty):
    """A migration that meets a long transaction steps back, lets others pass, and comes again."""
    migrate(empty, platform.root)
    connect = psycopg.AsyncConnection.connect
    async with await connect(empty) as long, await connect(empty, autocommit=True) as other:
        await long.execute("LOCK TABLE runs IN ROW EXCLUSIVE MODE")  # as any write does
        task = asyncio.create_task(asyncio.to_thread(migrate, empty, platform.root))
        waits = [await _longest_wait(other) for _ in range(4)]
        assert not task.done()
        await long.rollback()
        await task
    assert max(waits) < 1.0


async def _longest_wait(connection):
    since = monotonic()
    await connection.execute("DELETE FROM runs WHERE false")
    seconds = monotonic() - since
    await asyncio.sleep(0.3)
    return seconds


async def test_an_index_is_built_beside_the_work(platform, empty):
    """An index on a partitioned table is whole on each partition, and on those that come."""
    migrate(empty, platform.root)
    migrate_ahead(empty, platform.root)
    async with await psycopg.AsyncConnection.connect(empty, autocommit=True) as connection:
        found = await connection.execute(
            "SELECT bool_and(indisvalid), count(*) FROM pg_index"
            " WHERE indexrelid::regclass::text LIKE '%ix_next_runs%'"
        )
        is_valid, count = await found.fetchone()
        parts = await connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'runs'::regclass"
        )
        assert is_valid
        assert count == 1 + (await parts.fetchone())[0]
        await connection.execute("SELECT vesicle.ensure_partitions(6)")
        later = await connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ix_next_runs'::regclass"
        )
        parts = await connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'runs'::regclass"
        )
        assert await later.fetchone() == await parts.fetchone()


def test_a_database_of_a_later_release_is_left_alone(platform, empty):
    """An older `vesicle migrate` says who may migrate, and changes nothing."""
    migrate_ahead(empty, platform.root)
    with pytest.raises(ConfigurationError, match="later release"):
        migrate(empty, platform.root)


def test_a_step_in_the_way_for_too_long_is_told(platform, empty, monkeypatch):
    """Whoever holds a table for longer than a migration waits is named as the reason."""
    migrate(empty, platform.root)
    monkeypatch.setattr(migration, "PATIENCE", 0.1)
    with psycopg.connect(empty) as holder:
        holder.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Exception, match="in use"):
            migrate(empty, platform.root)
