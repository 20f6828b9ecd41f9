"""What the database may answer on a bad day, and what callers are told."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from types import SimpleNamespace

import psycopg
import pytest

from runtime.actions.target import Selection
from runtime.db import Database, Query
from runtime.errors import ServiceUnavailableError, UnreachableError
from runtime.submission import RunRequest, Submission
from runtime.tenancy import Owner, Scope
from tests.samples import add_function
from tests.waiting import eventually


@pytest.fixture
async def database(platform):
    """A manager's only connection."""
    async with Database(platform.settings, platform.root, ["manager"], size=1) as opened:
        yield opened


async def test_a_column_that_a_migration_adds_is_met_once(platform, database):
    """What was prepared before it is refused once, with a word to try again, and then works."""

    async def look():
        async with database.transaction(Scope.workspace(uuid.uuid4())) as connection:
            return await (await connection.execute("SELECT * FROM alerts")).fetchall()

    await look()
    async with platform.owner() as owner:
        await owner.execute("ALTER TABLE alerts ADD COLUMN of_the_next_release text")
        try:
            with pytest.raises(ServiceUnavailableError) as refused:
                await look()
            assert refused.value.headers == {"Retry-After": "1"}
            assert await look() == []
        finally:
            await owner.execute("ALTER TABLE alerts DROP COLUMN of_the_next_release")


@asynccontextmanager
async def _no_room(platform, table):
    """Nothing more fits into a table, for as long as the block lasts."""
    async with platform.owner() as owner:
        await owner.execute(
            "CREATE OR REPLACE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        await owner.execute(
            f"CREATE TRIGGER no_room BEFORE INSERT ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
        try:
            yield
        finally:
            await owner.execute(f"DROP TRIGGER no_room ON {table}")
            await owner.execute("DROP FUNCTION no_room")


async def test_a_full_disk_refuses_and_accepts_nothing(platform, workspace, acme):
    """A run for which there is no room is refused with 503, and is nowhere."""
    await add_function(platform, workspace.id, "echo")
    async with _no_room(platform, "runs"):
        refused = await acme.post("/actions/echo/run?async=true", json={"input": 1})
    assert refused.status_code == 503, refused.text
    assert refused.headers["Retry-After"] == "30"
    assert {"type", "message", "requestId"} <= refused.json().keys()
    assert await platform.rows("SELECT id FROM runs WHERE workspace_id = %s", workspace.id) == []
    accepted = await acme.post("/actions/echo/run?async=true", json={"input": 1})
    assert accepted.status_code in (200, 202), accepted.text


async def test_a_change_without_its_audit_record_is_none(platform, workspace, acme, manager):
    """Where the audit trail has no room, nothing is changed; with room it is."""
    body = {"window": "1h", "limit": 5}
    await acme.get("/runs")  # whose first request makes the tenant
    async with _no_room(platform, "audit_records"):
        refused = await manager.put("/customers/acme/limits/action-runs", json=body)
    assert refused.status_code == 503, refused.text
    count = "SELECT count(*) AS n FROM limits WHERE workspace_id = %s"
    assert await platform.rows(count, workspace.id) == [{"n": 0}]
    accepted = await manager.put("/customers/acme/limits/action-runs", json=body)
    assert accepted.status_code < 300, accepted.text
    assert await platform.rows(count, workspace.id) == [{"n": 1}]


@pytest.mark.parametrize("state", ["53100", "58030", "XX000"])
async def test_no_room_is_no_fault_of_one_item(platform, database, state):
    """A full disk, one that fails and a quota are told from trouble that one statement has."""
    async with platform.owner() as owner:
        await owner.execute(
            "CREATE OR REPLACE FUNCTION pg_temp_full() RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'could not extend file \"x\"' USING ERRCODE = '{state}'; END $$"
        )
        with pytest.raises(UnreachableError, match="no room"):
            await database.ask(Scope.workspace(uuid.uuid4()), Query("SELECT pg_temp_full()"))
        await owner.execute("DROP FUNCTION pg_temp_full")


async def test_who_waits_when_the_api_stops_is_told_that_the_run_goes_on(
    platform, workspace, acme, app, worker
):
    """A stopping API answers waiting callers with the handles of their runs, at once."""
    await add_function(platform, workspace.id, "sleep", safeToRepeat=True)
    waiters = app.state.services.waiters
    asked = asyncio.create_task(acme.post("/actions/sleep/run", json={"input": {"seconds": 1.5}}))
    await eventually(lambda: waiters._events)
    waiters.end()
    try:
        answer = await asked
    finally:
        waiters.ended = False
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/runs/{answer.json()['id']}"


def test_psycopg_counts_a_full_disk_among_operational_errors():
    """What is told apart by SQLSTATE has to get there."""
    assert issubclass(psycopg.errors.DiskFull, psycopg.OperationalError)
    assert issubclass(psycopg.errors.IoError, psycopg.OperationalError)


async def test_many_requests_are_told_at_once_that_the_database_is_away(platform, monkeypatch):
    """However many different actions they name, they wait for it once."""
    looks = 0

    async def away(*_):
        nonlocal looks
        looks += 1
        raise UnreachableError("The database cannot be reached.")

    monkeypatch.setattr(Submission, "_find_target", away)
    async with Database(platform.settings, platform.root, ["runtime"], size=1) as database:
        backlogs = SimpleNamespace(refuse_beyond=_none, is_deep=lambda *_: False)
        submission = Submission(database, SimpleNamespace(), backlogs)
        requests = [RunRequest(Selection(action=f"action-{number}")) for number in range(9)]
        with pytest.raises(UnreachableError):
            await submission.submit_many(Owner(uuid.uuid4(), uuid.uuid4()), "default", requests)
    assert looks == 1


async def _none(*_):
    return []
