"""Who runs what: two workspaces of three tenants, one of each under a limit, and their actions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx2
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from launch.migrate import migrate
from runtime.credentials.vault import load_vault
from runtime.keys import RootKey
from runtime.settings import Settings
from runtime.tenants.tokens import mint, new_secret
from runtime.tenants.workspaces import ensure_workspace
from tests.samples import add_element, add_function

__all__ = [
    "ACTIONS",
    "ECHO",
    "FLOW_CALLS",
    "HOSTILE_TIMEOUT",
    "LIMIT",
    "SLEEP",
    "WINDOW",
    "Action",
    "Database",
    "Scene",
    "Tenant",
    "connect_tenants",
    "make_scene",
]

#: A limited tenant's runs in any window of so many seconds.
LIMIT, WINDOW = 12, 10


@dataclass(frozen=True)
class Action:
    """An action, and what a second call of it would mean."""

    key: str
    method: str | None
    #: Whether the product may call again when it does not know what came of the first call.
    is_repeatable: bool
    #: Whether it sends the run's id as an idempotency key.
    sends_key: bool = False
    weight: int = 1
    #: Whether it is a flow, of `FLOW_CALLS` nodes that send keys of their own.
    is_flow: bool = False


ACTIONS = (
    Action("read", "GET", is_repeatable=True, weight=3),
    Action("put", "PUT", is_repeatable=True, weight=2),
    Action("keyed", "POST", is_repeatable=True, sends_key=True, weight=4),
    Action("once", "POST", is_repeatable=False, weight=4),
    Action("echo", None, is_repeatable=True, weight=2),
    Action("steps", "POST", is_repeatable=True, weight=2, is_flow=True),
)
#: Actions of the trials, which only their own tenants run.
ECHO, SLEEP = ACTIONS[4], Action("sleep", None, is_repeatable=True)
#: Seconds after which a run that calls the hostile app is ended.
HOSTILE_TIMEOUT = 3.0
_HOSTILE = {
    "type": "http-request",
    "timeout": HOSTILE_TIMEOUT,
    "config": {"request": {"uri": {"$var": "$.input.uri"}}},
    "retry": {"maxParks": 1, "maxWait": 5},
}
#: Calls of a flow: one after the other, and one for each of two items.
FLOW_CALLS = 3


@dataclass(frozen=True)
class Tenant:
    """A tenant, its token and the credential of its account in the ledger."""

    key: str
    workspace: str
    credential: str = field(repr=False)
    token: str = field(repr=False)
    is_limited: bool = False


# Those who wait for a lock that the tables' owner holds or asked for before them.
_WAITED = """
SELECT extract(epoch FROM max(clock_timestamp() - l.waitstart)) AS seconds FROM pg_locks AS l
JOIN pg_stat_activity AS waiting ON waiting.pid = l.pid
WHERE NOT l.granted AND waiting.usename <> current_user AND EXISTS (
    SELECT FROM pg_stat_activity AS a
    WHERE a.pid = ANY(pg_blocking_pids(l.pid)) AND a.usename = current_user)
"""


@dataclass(frozen=True)
class Database:
    """The database as its owner sees it, not over any link."""

    owner_url: str = field(repr=False)
    admin_url: str = field(repr=False)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Yield a connection of the tables' owner, who sees everything."""
        async with await psycopg.AsyncConnection.connect(
            self.owner_url, autocommit=True, row_factory=dict_row
        ) as connection:
            yield connection

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return what a query of the owner finds."""
        async with self.owner() as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def count(self, query: str, *values: Any) -> int:
        """Return the one number that a query of the owner finds."""
        (row,) = await self.rows(query, *values)
        return int(next(iter(row.values())) or 0)

    async def set(self, name: str, value: str | None) -> None:
        """Change a setting of the server for all new transactions; None takes that back."""
        change = f"SET {name} = '{value}'" if value is not None else f"RESET {name}"
        async with await psycopg.AsyncConnection.connect(
            self.admin_url, autocommit=True
        ) as connection:
            await connection.execute(f"ALTER SYSTEM {change}".encode())
            await connection.execute("SELECT pg_reload_conf()")

    async def write_wal(self) -> None:
        """Write WAL until PostgreSQL finds no room for it; it ends all sessions then."""
        try:
            async with await psycopg.AsyncConnection.connect(
                self.admin_url, autocommit=True
            ) as connection:
                for _ in range(200):
                    await connection.execute(
                        "SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 8000000))"
                    )
        except psycopg.Error:
            return
        raise AssertionError("There was room for all that WAL.")

    async def longest_wait(self, migration: Awaitable[None]) -> float:
        """Do something that takes locks; return the seconds that others waited for them at most."""
        task = asyncio.ensure_future(migration)
        longest = 0.0
        async with self.owner() as owner:
            while not task.done():
                waited = await (await owner.execute(_WAITED)).fetchone()
                longest = max(longest, float((waited and waited["seconds"]) or 0))
                await asyncio.sleep(0.02)
        await task
        return longest

    async def end_all_sessions(self) -> None:
        """End every session but our own, as an administrator can."""
        async with await psycopg.AsyncConnection.connect(
            self.admin_url, autocommit=True
        ) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )


@dataclass(frozen=True)
class Scene:
    """Everything that the load client needs."""

    database: Database
    tenants: Sequence[Tenant]
    #: A manager's token of each workspace.
    managers: Sequence[str] = field(repr=False)
    #: Tenants of the last workspace who are not part of the load: for the trials.
    extra: Mapping[str, Tenant] = field(repr=False)


# What happens to runs and reservations is noted as it happens: a wrong step that is put right later
# would leave no trace in the tables themselves.
_NOTES = """
CREATE TABLE chaos_moves (
    run_id uuid, at timestamptz, was text, is_now text, old_token uuid, new_token uuid,
    was_sent timestamptz, sent timestamptz);
CREATE TABLE chaos_reserved (
    run_id uuid, limit_id uuid, subject_id uuid, slice bigint, amount numeric, at timestamptz);
CREATE FUNCTION chaos_note_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$ BEGIN
    INSERT INTO chaos_moves VALUES (NEW.id, clock_timestamp(), OLD.status, NEW.status,
        OLD.lease_token, NEW.lease_token, OLD.sent_at, NEW.sent_at);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos_note_reserved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$ BEGIN
    INSERT INTO chaos_reserved VALUES (NEW.run_id, NEW.limit_id, NEW.subject_id, NEW.slice,
        NEW.amount, clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_moves AFTER UPDATE ON runs FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status
        OR OLD.lease_token IS DISTINCT FROM NEW.lease_token
        OR OLD.sent_at IS DISTINCT FROM NEW.sent_at
        OR (OLD.finished_at IS NOT NULL AND (OLD.output IS DISTINCT FROM NEW.output
            OR OLD.error IS DISTINCT FROM NEW.error
            OR OLD.finished_at IS DISTINCT FROM NEW.finished_at)))
    EXECUTE FUNCTION chaos_note_move();
CREATE TRIGGER chaos_reserved AFTER INSERT ON reservations FOR EACH ROW
    EXECUTE FUNCTION chaos_note_reserved();
"""


async def make_scene(settings: Settings, root: RootKey, database: Database, ledger: int) -> Scene:
    """Migrate the database, have it note what happens, and fill it; `ledger` is its port."""
    migrate(database.owner_url, root)
    async with database.owner() as owner:
        await owner.execute(_NOTES)
    tenants: list[Tenant] = []
    managers: list[str] = []
    extra: dict[str, Tenant] = {}
    for number in (1, 2):
        secret, name = new_secret(), f"chaos-{number}"
        async with database.owner() as owner:
            workspace = await ensure_workspace(
                owner, load_vault(settings), key=name, name=name, secret=secret
            )
        await _define(database, workspace, ledger)
        managers.append(mint(name, secret, admin=True))
        extra = {
            key: Tenant(key, name, "", mint(name, secret, tenant_key=key, name=key.capitalize()))
            for key in ("light", "flooder")
        }
        for key in ("acme", "globex", "limited"):
            token = mint(name, secret, tenant_key=key, name=key.capitalize())
            tenants.append(Tenant(key, name, f"{name}-{key}", token, key == "limited"))
    return Scene(database, tenants, managers, extra)


_ASKED = {name: {"$var": f"$.trigger.{name}"} for name in ("path", "seconds", "operation")}


async def _define(database: Database, workspace: UUID, ledger: int) -> None:
    connector = {
        "key": "ledger",
        "name": "Ledger",
        "apiClient": {"baseUri": f"http://127.0.0.1:{ledger}"},
        "auth": {"type": "api-key", "in": "header", "name": "X-Api-Key"},
        "test": {"path": "/me"},
    }
    await add_element(database, workspace, "connector", "ledger", connector)
    await add_element(
        database, workspace, "integration", "ledger", {"connectorKey": "ledger", "name": "Ledger"}
    )
    await add_function(database, workspace, SLEEP.key, safeToRepeat=True)
    await add_element(database, workspace, "action", "hostile", _HOSTILE)
    for action in ACTIONS:
        if action.is_flow:
            await add_element(database, workspace, "flow", action.key, {"nodes": _steps()})
            continue
        if action.method is None:
            await add_function(database, workspace, action.key, safeToRepeat=True)
            continue
        request = {
            "path": {"$var": "$.input.path"},
            "method": action.method,
            "query": {"seconds": {"$var": "$.input.seconds"}},
        }
        if action.method != "GET":
            request["data"] = {"operation": {"$var": "$.input.operation"}}
        spec = {"type": "api-request-to-external-app", "config": {"request": request}}
        if action.sends_key:
            spec["idempotency"] = {}
        await add_element(database, workspace, "action", action.key, spec, app="ledger")


def _steps() -> dict[str, Any]:
    call = {"type": "run-action", "config": {"action": {"key": "keyed"}, "input": _ASKED}}
    passed = {"type": "transform-data", "config": {"output": {"$var": "$.trigger"}}}
    each = {"items": [1, 2], "rootNodeKey": "call"}
    return {
        "start": {"type": "api-trigger", "links": [{"key": "first"}]},
        "first": {**call, "links": [{"key": "between"}]},
        "between": {**passed, "links": [{"key": "each"}]},
        "each": {"type": "for-each-v2", "config": each, "links": [{"key": "last"}]},
        "call": call,
        "last": passed,
    }


async def connect_tenants(scene: Scene, api: str) -> None:
    """Give each tenant its account in the ledger, and each limited tenant its limit."""
    async with httpx2.AsyncClient(base_url=api, timeout=60, trust_env=False) as http:
        for tenant in scene.tenants:
            body = {"integrationKey": "ledger", "credentials": {"apiKey": tenant.credential}}
            headers = {"Authorization": f"Bearer {tenant.token}"}
            answer = await http.post("/connections", json=body, headers=headers)
            assert answer.status_code == 201, answer.text
        for manager in scene.managers:
            limit: dict[str, Any] = {"window": f"{WINDOW}s", "limit": LIMIT}
            headers = {"Authorization": f"Bearer {manager}"}
            path = "/customers/limited/limits/action-runs"
            answer = await http.put(path, json=limit, headers=headers)
            assert answer.status_code < 300, answer.text
