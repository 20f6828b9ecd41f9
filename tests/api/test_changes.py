"""Each change of what processes keep in memory is heard by all of them, from the database."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

import psycopg
import pytest

from runtime.changes import Change, Changes
from runtime.clock import monotonic
from runtime.db import role_url
from tests.waiting import eventually

_STATEMENTS = {
    "workspaces": "UPDATE workspaces SET settings = settings WHERE id = %s",
    "tenants": "UPDATE tenants SET name = 'A' WHERE workspace_id = %s",
    "limits": "INSERT INTO limits (id, workspace_id, resource, scope, window_seconds, amount)"
    " VALUES (gen_random_uuid(), %s, 'x', 'tenant', 60, 1)",
    "elements": "INSERT INTO elements (id, kind, layer, workspace_id, key, spec)"
    " VALUES (gen_random_uuid(), 'action', 'workspace', %s, 'told', '{}')",
    "caps": "INSERT INTO caps (id, workspace_id, scope, amount)"
    " VALUES (gen_random_uuid(), %s, 'workspace', 1000)",
}


@contextlib.asynccontextmanager
async def listening(url):
    """Yield what one process hears."""
    heard: list[Change] = []
    changes = Changes(url)
    changes.heed(heard.append)
    task = asyncio.create_task(changes.listen())
    try:
        await eventually(lambda: changes.heard_until > 0)
        yield changes, heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def url(platform):
    return role_url(platform.settings, platform.root, "worker")


async def test_every_change_is_told(platform, workspace, acme, url):
    """Whoever makes it, and however: here by SQL alone."""
    await acme.get("/self")
    (tenant,) = await platform.rows(
        "SELECT id FROM tenants WHERE workspace_id = %s AND key = 'acme'", workspace.id
    )
    async with listening(url) as (_, heard):
        for table, statement in _STATEMENTS.items():
            heard.clear()
            await platform.rows(f"{statement} RETURNING 1", workspace.id)
            wanted = Change(table, workspace.id, tenant["id"] if table == "tenants" else None)
            await eventually(lambda wanted=wanted: wanted in heard, seconds=1)


async def test_what_everybody_sees_is_told_to_everybody(platform, url):
    """A change of the universe names no workspace."""
    async with listening(url) as (_, heard):
        await platform.rows(
            "INSERT INTO elements (id, kind, layer, key, spec)"
            " VALUES (gen_random_uuid(), 'action', 'universe', 'told', '{}') RETURNING 1"
        )
        await eventually(lambda: Change("elements") in heard, seconds=1)
        heard.clear()
        await platform.rows(
            "DELETE FROM elements WHERE key = 'told' AND layer = 'universe' RETURNING 1"
        )
        await eventually(lambda: Change("elements") in heard, seconds=1)


async def test_a_tenant_that_is_only_active_is_no_change(platform, workspace, acme, url):
    """Nor is what is rolled back."""
    async with listening(url) as (changes, heard):
        heard.clear()
        await platform.rows(
            "UPDATE tenants SET last_active_at = now() WHERE workspace_id = %s RETURNING 1",
            workspace.id,
        )
        async with platform.owner() as connection:
            with contextlib.suppress(RuntimeError):
                async with connection.transaction():
                    await connection.execute(
                        "UPDATE tenants SET name = 'B' WHERE workspace_id = %s", (workspace.id,)
                    )
                    raise RuntimeError
        moment = monotonic()
        await eventually(lambda: changes.heard_until > moment)
        assert [each for each in heard if each.workspace_id == workspace.id] == []


async def test_a_lost_connection_is_opened_again_and_everything_forgotten(platform, url):
    """What was said meanwhile is unknown."""
    async with listening(url) as (changes, heard):
        heard.clear()
        async with await psycopg.AsyncConnection.connect(platform.admin_url) as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'vesicle_worker'"
                " AND query IN ('SELECT 1', 'LISTEN vesicle_changes')"
            )
        await eventually(lambda: Change() in heard)
        moment = monotonic()
        await eventually(lambda: changes.heard_until > moment)


async def test_a_strangers_word_is_left_alone(platform, url):
    """Whoever may connect may notify: nonsense changes nothing and stops nothing."""
    async with listening(url) as (changes, heard):
        heard.clear()
        for payload in ("", "nonsense/not-an-id", "a/b/c/d/e", "elements/" + "x" * 4000):
            await platform.rows("SELECT pg_notify('vesicle_changes', %s)", payload)
        moment = monotonic()
        await eventually(lambda: changes.heard_until > moment)
        assert all(each.workspace_id is None for each in heard)


async def test_where_no_word_arrives_nothing_is_believed(platform, url, monkeypatch):
    """As behind a pooler that lends sessions by the transaction: an answer alone proves nothing."""

    async def deaf(connection, seconds):
        return False

    monkeypatch.setattr("runtime.changes._arrival", deaf)
    monkeypatch.setattr("runtime.changes._TRIAL", 0.05)
    tried = asyncio.Event()
    monkeypatch.setattr(
        "runtime.changes.log", type("Log", (), {"warning": lambda *_, **__: tried.set()})()
    )
    changes = Changes(url)
    task = asyncio.create_task(changes.listen())
    await asyncio.wait_for(tried.wait(), 10)
    assert changes.heard_until == float("-inf")
    task.cancel()


def test_a_change_reads_as_it_is_sent():
    """The word of the database is the table, then the workspace, then the tenant."""
    ids = [UUID(int=number) for number in (1, 2)]
    assert Change("elements", *ids) == ("elements", UUID(int=1), UUID(int=2))
