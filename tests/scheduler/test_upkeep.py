"""What the clock process tidies, with the rights of its own login only."""

from __future__ import annotations

import uuid

import pytest

from runtime.db import Database
from scheduler.upkeep import ensure_partitions, forget_expired_keys, release_orphans


@pytest.fixture
async def database(platform):
    """The database as the scheduler's login sees it."""
    async with Database(platform.settings, platform.root, ["scheduler"], size=2) as database:
        yield database


@pytest.fixture
async def tenant_id(acme):
    """The id of acme, which its first request makes."""
    return uuid.UUID((await acme.get("/self")).json()["id"])


@pytest.mark.parametrize(
    ("run_id", "age", "left"),
    [
        (uuid.uuid4(), "3 minutes", 2),
        (uuid.uuid4(), "1 minute", 5),
        # A node of a flow may take as long as an action.
        (uuid.uuid5(uuid.uuid4(), "node"), "55 minutes", 5),
        (uuid.uuid5(uuid.uuid4(), "node"), "61 minutes", 2),
    ],
)
async def test_what_an_ended_run_still_holds_is_given_back(
    database, platform, workspace, tenant_id, run_id, age, left
):
    """A reservation whose run is not open any more leaves its slice and its window, in time."""
    limit_id = uuid.uuid4()
    place = (limit_id, tenant_id, workspace.id, tenant_id)
    async with platform.owner() as owner:
        await owner.execute(
            "INSERT INTO limits (id, workspace_id, resource, scope, window_seconds, amount)"
            " VALUES (%s, %s, 'coins', 'tenant', 3600, 10)",
            (limit_id, workspace.id),
        )
        await owner.execute(
            "INSERT INTO credit_windows (limit_id, subject_id, workspace_id, tenant_id, total)"
            " VALUES (%s, %s, %s, %s, 5)",
            place,
        )
        await owner.execute(
            "INSERT INTO credit_buckets (limit_id, subject_id, workspace_id, tenant_id, slice,"
            " amount) VALUES (%s, %s, %s, %s, 7, 5)",
            place,
        )
        await owner.execute(
            "INSERT INTO reservations (limit_id, subject_id, workspace_id, tenant_id, run_id,"
            " resource, slice, amount, created_at)"
            " VALUES (%s, %s, %s, %s, %s, 'coins', 7, 3, now() - %s::interval)",
            (*place, run_id, age),
        )

    await release_orphans(database)

    held = await platform.rows("SELECT FROM reservations WHERE run_id = %s", run_id)
    assert bool(held) == (left == 5)
    for table, column in (("credit_windows", "total"), ("credit_buckets", "amount")):
        (row,) = await platform.rows(
            f"SELECT {column} AS left_over FROM {table} WHERE limit_id = %s", limit_id
        )
        assert row["left_over"] == left


async def test_expired_idempotency_keys_are_forgotten(database, platform, workspace, tenant_id):
    """A key whose day is over goes; one that is good stays."""
    async with platform.owner() as owner:
        for key, age in (("old", "25 hours"), ("young", "1 hour")):
            await owner.execute(
                "INSERT INTO idempotency_keys (tenant_id, workspace_id, key, fingerprint, run_id,"
                " expires_at) VALUES (%s, %s, %s, '', %s, now() + interval '24 hours'"
                " - %s::interval)",
                (tenant_id, workspace.id, key, uuid.uuid4(), age),
            )

    assert await forget_expired_keys(database) >= 1

    kept = await platform.rows("SELECT key FROM idempotency_keys WHERE tenant_id = %s", tenant_id)
    assert kept == [{"key": "young"}]


async def test_partitions_are_made_ahead_by_a_login_that_owns_none(database, platform):
    """A month whose partition is missing gets it back."""
    (row,) = await platform.rows(
        "SELECT 'runs_' || to_char(now() + interval '2 months', 'YYYY_MM') AS name"
    )
    async with platform.owner() as owner:
        await owner.execute(f"DROP TABLE {row['name']}")

    assert await ensure_partitions(database) == 1

    (found,) = await platform.rows("SELECT to_regclass(%s) IS NOT NULL AS there", row["name"])
    assert found["there"]
    assert await ensure_partitions(database) == 0
