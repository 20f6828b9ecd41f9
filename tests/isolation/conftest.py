"""Rows of several owners, and connections as each database role under any scope."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runtime.clock import now
from runtime.db import role_url
from runtime.settings import ROLES
from runtime.stamps import ScopeStamps
from tests.factories import new_workspace
from tests.isolation.seeds import Seed, Seeded, seed, unseed

_SHOP, _OTHER = uuid.uuid4(), uuid.uuid4()

#: Whose rows there are: a workspace with acme and globex, and another with an acme of its own.
OWNERS: dict[str, Seed] = {
    owner.name: owner
    for owner in (
        Seed("shop", _SHOP),
        Seed("acme", _SHOP, uuid.uuid4()),
        Seed("globex", _SHOP, uuid.uuid4()),
        Seed("other", _OTHER),
        Seed("other-acme", _OTHER, uuid.uuid4()),
    )
}


@pytest.fixture(scope="module")
def seeded(platform) -> Iterator[Seeded]:
    """Rows of every owner in every table, for the length of one module."""
    with psycopg.connect(platform.owner_url, autocommit=True) as connection:
        rows = seed(connection, list(OWNERS.values()))
        yield rows
        unseed(connection, rows)


class Login:
    """One connection as one of Vesicle's roles; every block is a transaction that is undone."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def scoped(self, stamp: str | None):
        """Yield the connection inside a transaction under a stamp, good or bad."""
        with self._connection.transaction(force_rollback=True):
            if stamp is not None:
                self._connection.execute("SELECT set_config('vesicle.scope', %s, true)", (stamp,))
            yield self._connection

    def attempt(self, stamp: str | None, statement: Any, values: Any = ()) -> int | None:
        """Return how many rows a statement saw or changed; None if the database refused it."""
        try:
            with self.scoped(stamp) as connection:
                return connection.execute(statement, values).rowcount
        except psycopg.errors.InsufficientPrivilege:
            return None


@pytest.fixture(scope="module")
def logins(platform) -> Iterator[dict[str, Login]]:
    """A login of every role."""
    with contextlib.ExitStack() as stack:
        yield {
            role: Login(
                stack.enter_context(
                    psycopg.connect(
                        role_url(platform.settings, platform.root, role),
                        autocommit=True,
                        row_factory=dict_row,
                    )
                )
            )
            for role in ROLES
        }


class Scopes:
    """Makes the stamps that tests present, with the platform's own key."""

    def __init__(self, root: Any) -> None:
        self._stamps = ScopeStamps(root)

    def sign(
        self, kind: Any, workspaces: Iterable[Any], tenants: Iterable[Any] = (), *, age: int = 0
    ) -> str:
        """Return a genuine stamp that was made `age` seconds ago."""
        return self._stamps.sign(
            kind, list(workspaces), list(tenants), now() - timedelta(seconds=age)
        )

    def tenant(self, owner: Seed) -> str:
        """Return a tenant's scope."""
        return self.sign("tenant", [owner.workspace], [owner.tenant])

    def manager(self, owner: Seed) -> str:
        """Return the scope of the manager of a tenant's workspace."""
        return self.sign("workspace", [owner.workspace])

    def proxy(self, owner: Seed) -> str:
        """Return the scope of requests over a tenant's connections."""
        return self.sign("proxy", [owner.workspace], [owner.tenant])

    def worker(self, *owners: Seed) -> str:
        """Return the scope of a worker that holds runs of these tenants."""
        workspaces = {owner.workspace for owner in owners}
        return self.sign("worker", workspaces, {owner.tenant for owner in owners})


@pytest.fixture(scope="module")
async def make_workspaces(platform, app):
    """Makes workspaces that last as long as a module."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda: new_workspace(platform, app, stack)


@pytest.fixture(scope="module")
def scopes(platform) -> Scopes:
    """Makes stamps."""
    return Scopes(platform.root)
