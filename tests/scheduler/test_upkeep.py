"""What the clock process tidies, with the rights of its own login only."""

from __future__ import annotations

import uuid

import pytest

from runtime.db import Database
from scheduler.upkeep import (
    ensure_partitions,
    forget_deliveries,
    forget_expired_keys,
    release_orphans,
)
from tests.api.asking import ok


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


async def test_old_deliveries_and_deleted_endpoints_go(database, platform, manager):
    """What is older than it is kept, and all of an endpoint that was deleted long enough ago."""
    made = [
        await ok(manager.post("/webhook-endpoints", json={"url": "http://127.0.0.1:9"}), 201)
        for _ in range(2)
    ]
    for endpoint in made:
        for _ in range(2):
            await ok(manager.post(f"/webhook-endpoints/{endpoint['id']}/test"), 202)
    await ok(manager.delete(f"/webhook-endpoints/{made[1]['id']}"))
    ids = [each["id"] for each in made]

    async def left():
        rows = await platform.rows(
            "SELECT e.id::text, count(d.id) FROM webhook_endpoints AS e LEFT JOIN"
            " webhook_deliveries AS d ON d.endpoint_id = e.id WHERE e.id = ANY(%s::uuid[])"
            " GROUP BY e.id",
            ids,
        )
        return {row["id"]: row["count"] for row in rows}

    await forget_deliveries(database, 14)
    assert await left() == {ids[0]: 2, ids[1]: 2}
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE webhook_endpoints SET deleted_at = now() - interval '61 minutes'"
            " WHERE id = %s AND deleted_at IS NOT NULL",
            (ids[1],),
        )
        await owner.execute(
            "UPDATE webhook_deliveries SET created_at = now() - interval '15 days' WHERE id ="
            " (SELECT id FROM webhook_deliveries WHERE endpoint_id = %s ORDER BY id LIMIT 1)",
            (ids[0],),
        )
    assert await forget_deliveries(database, 14) == 1
    assert await left() == {ids[0]: 1}
