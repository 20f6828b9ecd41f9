"""What is old of events goes, with the scheduler's own rights; what is young or open stays."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from runtime.clock import now
from runtime.db import Database
from runtime.moments import uuid_floor
from scheduler.events import forget_old_events, give_up_lost


@pytest.fixture
async def database(platform):
    """The database as the scheduler's login sees it."""
    async with Database(platform.settings, platform.root, ["scheduler"], size=2) as database:
        yield database


def _made(days):
    """Return an id of some days ago."""
    at = uuid_floor(now() - timedelta(days=days))
    return uuid.UUID(int=at.int | uuid.uuid4().int >> 60)


async def _event(platform, workspace, tenant, days, status="success", run_id=None):
    """Write an event of some days ago, which has started a run."""
    event_id = _made(days)
    async with platform.owner() as owner:
        await owner.execute(
            "INSERT INTO events (id, workspace_id, tenant_id, source, subject_id, status, run_id)"
            " VALUES (%s, %s, %s, 'app', %s, %s, %s)",
            (event_id, workspace, tenant, uuid.uuid4(), status, run_id or uuid.uuid4()),
        )
        await owner.execute(
            "INSERT INTO event_launches (event_id, trigger_id, workspace_id, tenant_id, run_id)"
            " VALUES (%s, %s, %s, %s, %s)",
            (event_id, uuid.uuid4(), workspace, tenant, uuid.uuid4()),
        )
    return event_id


async def test_old_events_are_forgotten(database, platform, workspace, acme):
    """With the launches that hang on them."""
    tenant = (await acme.get("/self")).json()["id"]
    place = (platform, workspace.id, tenant)
    old, young = await _event(*place, 15), await _event(*place, 13)
    open_ = await _event(*place, 15, "created")

    assert await forget_old_events(database, 14) >= 1

    for table, column in (("events", "id"), ("event_launches", "event_id")):
        rows = await platform.rows(
            f"SELECT {column} AS id FROM {table} WHERE tenant_id = %s", tenant
        )
        assert {row["id"] for row in rows} == {young, open_}, old


async def test_an_event_whose_run_was_stopped_says_so(database, platform, workspace, acme):
    """It does not stay open for ever; one whose run still waits is left alone."""
    tenant = (await acme.get("/self")).json()["id"]
    runs = {}
    async with platform.owner() as owner:
        for status in ("stopped", "queued"):
            run_id = _made(0)
            await owner.execute(
                "INSERT INTO runs (id, workspace_id, tenant_id, kind, status, queue, sent_at,"
                " due_at) VALUES (%s, %s, %s, 'event-launch', %s, 'default', NULL,"
                " now() + interval '1 day')",
                (run_id, workspace.id, tenant, status),
            )
            runs[status] = await _event(platform, workspace.id, tenant, 0, "created", run_id)

    assert await give_up_lost(database) >= 1

    found = {
        row["id"]: row["status"]
        for row in await platform.rows("SELECT id, status FROM events WHERE tenant_id = %s", tenant)
    }
    assert found == {runs["stopped"]: "error", runs["queued"]: "created"}
