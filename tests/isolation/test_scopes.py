"""The scope of a transaction: set in one place, gone with it, and not to be changed by SQL."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr
from sqlmodel import select

from models.run import Run
from runtime.db import Database
from runtime.errors import ConfigurationError
from runtime.tenancy import Owner, Scope
from tests.isolation.conftest import OWNERS
from tests.isolation.intruders import ACME, GLOBEX, OTHER

TENANTS = (ACME, GLOBEX, OTHER)


@pytest.fixture
async def database(platform):
    """Two connections a role, so that tenants follow one another on them closely."""
    roles = ["runtime", "manager", "worker"]
    async with Database(platform.settings, platform.root, roles, size=2) as opened:
        yield opened


def _scope(seed, way: str) -> Scope:
    if way == "manager":
        return Scope.workspace(seed.workspace)
    if way == "worker":
        return Scope.worker([Owner(seed.workspace, seed.tenant)])
    return Scope.tenant(seed.workspace, seed.tenant)


async def _seen(connection) -> set:
    cursor = await connection.execute("SELECT DISTINCT tenant_id FROM runs")
    return {row["tenant_id"] for row in await cursor.fetchall()}


async def test_tenants_that_share_connections_never_meet(database, seeded):
    """Of 100 transactions at once on a few connections, a third of them cancelled, none crosses."""
    order = random.Random(20261123)
    met: list[str] = []
    finished = 0

    async def look(seed, way: str) -> None:
        nonlocal finished
        expected = {seed.tenant}
        if way == "manager":
            expected = {each.tenant for each in TENANTS if each.workspace == seed.workspace}
        async with database.transaction(_scope(seed, way)) as connection:
            for _ in range(3):
                if await _seen(connection) != expected:
                    met.append(f"{seed.name} as {way}")
                await connection.execute("SELECT pg_sleep(%s)", (order.uniform(0, 0.003),))
        finished += 1

    tasks = [
        asyncio.create_task(
            look(order.choice(TENANTS), order.choice(("tenant", "manager", "worker")))
        )
        for _ in range(100)
    ]
    for task in order.sample(tasks, 33):
        await asyncio.sleep(order.uniform(0, 0.01))
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert met == []
    assert finished >= 67
    # What a cancelled transaction leaves behind is a connection without a scope.
    for _ in range(4):
        async with database._pools["runtime"].connection() as connection:
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            cursor = await connection.execute("SELECT current_setting('vesicle.scope', true) AS s")
            assert not (await cursor.fetchone())["s"]


async def test_a_failed_transaction_leaves_no_scope(database, seeded):
    """After an error the next transaction on the same connection begins with its own scope."""
    for _ in range(4):
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with database.transaction(_scope(ACME, "tenant")) as connection:
                await connection.execute("SELECT 1 / 0")
        async with database.transaction(_scope(GLOBEX, "tenant")) as connection:
            assert await _seen(connection) == {GLOBEX.tenant}


@pytest.mark.parametrize("role", ["runtime", "manager", "worker"])
async def test_without_a_scope_nothing_is_answered(database, seeded, role):
    """A transaction that nobody gave a scope raises at its first row."""
    with pytest.raises(InsufficientPrivilege, match="no scope is bound"):
        async with database.unscoped(role) as connection:
            await _seen(connection)


async def test_management_sessions_are_bound_too(database, seeded):
    """An ORM session sees its scope's rows, and the next one on its connection sees its own."""
    for seed in (ACME, GLOBEX, OTHER, ACME):
        async with database.session(_scope(seed, "tenant")) as session:
            found = (await session.exec(select(Run))).all()
        assert {run.tenant_id for run in found} == {seed.tenant}


@pytest.mark.parametrize("way", ["tenant", "manager", "worker"])
async def test_injected_sql_cannot_become_another(database, scopes, seeded, way):
    """A statement that sets another scope by itself is refused: it cannot sign it.

    Tried with acme's ids under the MAC of one's own stamp, with no MAC, and with no stamp at all.
    """
    own = {
        "tenant": scopes.tenant(OTHER),
        "manager": scopes.manager(OTHER),
        "worker": scopes.worker(OTHER),
    }[way]
    mac = own.rpartition("|")[2]
    body = own.replace(str(OTHER.workspace), str(ACME.workspace))
    body = body.replace(str(OTHER.tenant), str(ACME.tenant)).rpartition("|")[0]
    for injected in (f"{body}|{mac}", f"{body}|", body, ""):
        async with database.transaction(_scope(OTHER, way)) as connection:
            assert await _seen(connection)
            await connection.execute("SELECT set_config('vesicle.scope', %s, true)", (injected,))
            with pytest.raises(InsufficientPrivilege):
                await _seen(connection)
            await connection.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE vesicle_owner",
        "SET SESSION AUTHORIZATION vesicle_owner",
        "SET row_security = off; SELECT * FROM runs",
        "ALTER TABLE runs DISABLE ROW LEVEL SECURITY",
        "DROP POLICY runtime_select ON runs",
        "CREATE POLICY mine ON runs USING (true)",
        "UPDATE vesicle.scope_keys SET inner_pad = ''",
        "CREATE OR REPLACE FUNCTION vesicle.tenant() RETURNS uuid LANGUAGE sql AS 'SELECT NULL'",
        "CREATE TEMPORARY TABLE scope_keys (id int)",
        "TRUNCATE runs",
        "COPY runs TO PROGRAM 'cat'",
        "SELECT vesicle.ensure_partitions(1)",
    ],
)
async def test_injected_sql_cannot_lift_the_rules(database, seeded, statement):
    """Nothing that a role may say switches row security off or makes it somebody else."""
    with pytest.raises(InsufficientPrivilege):
        async with database.transaction(_scope(GLOBEX, "tenant")) as connection:
            # What is prepared is one statement only; an attacker would rather have several.
            await connection.execute(statement, prepare=False)


@pytest.mark.parametrize("login", ["owner_url", "admin_url"])
@pytest.mark.parametrize("role", ["runtime", "worker", "scheduler"])
async def test_a_process_refuses_a_login_that_could_bypass(platform, login, role):
    """A role's URL that logs in as the tables' owner or a superuser stops the process at once."""
    url = SecretStr(getattr(platform, login))
    settings = platform.settings.model_copy(update={f"database_url_{role}": url})
    database = Database(settings, platform.root, [role])
    with pytest.raises(ConfigurationError, match="Refusing to start"):
        async with database:
            pytest.fail("it started")


async def test_seeds_are_not_empty(seeded):
    """Each tenant of these tests has a run, or they would prove nothing."""
    assert all(seeded.rows[name]["runs"] for name in ("acme", "globex", "other-acme"))
    assert {ACME, GLOBEX, OTHER} <= set(OWNERS.values())
