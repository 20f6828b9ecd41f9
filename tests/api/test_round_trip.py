"""Statements that share a round trip: what they answer, and what is left of them when one fails."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest

from runtime.db import Database, Query
from runtime.errors import ServiceUnavailableError
from runtime.tenancy import Owner, Scope
from tests.waiting import eventually

SCOPE = Scope.worker([Owner(uuid.uuid4(), uuid.uuid4())])


@pytest.fixture
async def database(platform):
    """A database of one connection, so that whatever one trip leaves behind meets the next."""
    async with Database(platform.settings, platform.root, ["worker"], size=1) as database:
        yield database


async def test_each_statement_has_its_rows(database):
    """In order, with named and numbered placeholders, and a percent sign that is one."""
    one, two, three = await database.ask(
        SCOPE,
        Query("SELECT %(a)s::int AS a, %(b)s::text AS b, %(a)s::int AS again", {"a": 1, "b": "x%"}),
        Query("SELECT n, %s::jsonb AS doc FROM generate_series(1, 2) AS n", ('{"k": [1]}',)),
        Query("SELECT 'a%%b' AS text WHERE %s", (True,)),
    )
    assert one == [{"a": 1, "b": "x%", "again": 1}]
    assert two == [{"n": 1, "doc": {"k": [1]}}, {"n": 2, "doc": {"k": [1]}}]
    assert three == [{"text": "a%b"}]


async def test_a_statement_is_prepared_for_the_types_that_it_is_given(database):
    """The same text with another type of value is another statement, and each is kept."""
    for _ in range(3):
        for value in (1, "one", None, 2**40, uuid.UUID(int=1)):
            ((row,),) = await database.ask(SCOPE, Query("SELECT %s AS v", (value,)))
            assert row["v"] == value


async def test_if_one_fails_none_has_happened(database, platform):
    """And the connection is as good as before."""
    key = uuid.uuid4()
    write = Query("SELECT set_config('vesicle.test', %s, false)", (str(key),))
    with pytest.raises(psycopg.errors.DivisionByZero):
        await database.ask(SCOPE, write, Query("SELECT 1 / %s", (0,)), write)
    for _ in range(2):
        ((row,),) = await database.ask(
            SCOPE, Query("SELECT current_setting('vesicle.test', true) AS v")
        )
        assert row["v"] != str(key)
    with pytest.raises(psycopg.errors.SyntaxError):
        await database.ask(SCOPE, Query("SELEKT %s", (1,)))
    assert await database.ask(SCOPE, Query("SELECT 1 AS v")) == [[{"v": 1}]]


async def test_what_cannot_be_sent_is_refused_before_anything_is(database):
    """A NUL, or a value without a type, is the caller's mistake and harms nobody after him."""
    for value in ("a\x00b", object()):
        with pytest.raises(psycopg.Error):
            await database.ask(SCOPE, Query("SELECT %s", (value,)))
    assert await database.ask(SCOPE, Query("SELECT 1 AS v")) == [[{"v": 1}]]


async def test_much_goes_both_ways(database):
    """More than the sockets hold at once, while the server answers what came first."""
    much = "x" * 3_000_000
    answers = await database.ask(
        SCOPE, *[Query("SELECT %s::text AS much, %s::int AS n", (much, n)) for n in range(4)]
    )
    assert [row["n"] for (row,) in answers] == [0, 1, 2, 3]
    assert all(row["much"] == much for (row,) in answers)


async def test_whoever_is_cancelled_holds_nobody_up(database, platform):
    """The server stops what it does for him, and the next one has a sound connection."""
    task = asyncio.create_task(database.ask(SCOPE, Query("SELECT pg_sleep(%s)", (60,))))

    async def sleeping():
        async with await psycopg.AsyncConnection.connect(platform.admin_url) as admin:
            cursor = await admin.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE state = 'active' AND query LIKE 'SELECT pg_sleep($1)%'"
            )
            return (await cursor.fetchone())[0]

    await eventually(sleeping)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.ask(SCOPE, Query("SELECT 1 AS v")) == [[{"v": 1}]]

    async def quiet():
        return not await sleeping()

    await eventually(quiet)


async def test_a_connection_that_breaks_is_told_as_one(database, platform):
    """503 with a time to come back, and a new connection for the next one."""
    task = asyncio.create_task(database.ask(SCOPE, Query("SELECT pg_sleep(%s)", (61,))))

    async def broken():
        async with await psycopg.AsyncConnection.connect(platform.admin_url) as admin:
            cursor = await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE state = 'active' AND query LIKE 'SELECT pg_sleep($1)%'"
            )
            return await cursor.fetchone()

    await eventually(broken)
    with pytest.raises(ServiceUnavailableError):
        await task
    assert await database.ask(SCOPE, Query("SELECT 1 AS v")) == [[{"v": 1}]]


async def test_a_plan_that_does_not_fit_any_more_is_made_anew(database, platform):
    """A table that a migration changes meanwhile costs nobody an error."""
    look = Query("SELECT * FROM vesicle_plans")
    async with platform.owner() as owner:
        await owner.execute("CREATE TABLE IF NOT EXISTS vesicle_plans (a int)")
        await owner.execute("GRANT SELECT ON vesicle_plans TO vesicle_worker")
        try:
            await owner.execute("INSERT INTO vesicle_plans VALUES (1)")
            assert await database.ask(SCOPE, look) == [[{"a": 1}]]
            await owner.execute("ALTER TABLE vesicle_plans ADD COLUMN b int DEFAULT 2")
            assert await database.ask(SCOPE, look) == [[{"a": 1, "b": 2}]]
        finally:
            await owner.execute("DROP TABLE vesicle_plans")


async def test_what_a_rollback_has_the_server_forget_is_prepared_anew(database):
    """psycopg deallocates all statements of a connection whose transaction it rolled back."""
    look = Query("SELECT %s::int AS v", (1,))
    assert await database.ask(SCOPE, look) == [[{"v": 1}]]
    for _ in range(2):
        async with database.transaction(SCOPE) as connection:
            await connection.execute("SELECT 1")
            await connection.rollback()
        async with database.transaction(SCOPE) as connection:
            await connection.execute("SELECT 1")
        assert await database.ask(SCOPE, look) == [[{"v": 1}]]
        assert await database.ask(SCOPE, look, look) == [[{"v": 1}], [{"v": 1}]]


async def test_statements_without_number_are_sent_all_the_same(database):
    """Beyond what a connection keeps prepared, each is planned when it is sent."""
    for number in range(320):
        ((row,),) = await database.ask(SCOPE, Query(f"SELECT {number} AS v, %s::int AS w", (1,)))
        assert row == {"v": number, "w": 1}
