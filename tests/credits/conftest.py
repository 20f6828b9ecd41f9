"""A workspace with two tenants, and limits on it that are written as a manager's would be."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
import uuid_utils.compat

from runtime.credits.ledger import Demand, reserve, settle
from runtime.credits.limits import LimitRule, Subjects, Window, applicable
from runtime.credits.manage import LimitPlace, insert_limit
from runtime.db import Database
from runtime.tenancy import Owner, Scope
from tests.api import seeds


@dataclass
class Bench:
    """The ledger as workers use it."""

    platform: Any
    database: Database
    workspace: Any
    acme: Owner
    globex: Owner
    rules: list[LimitRule] = field(default_factory=list)
    #: Run -> limit -> the slice in which the reservation was made.
    slices: dict[uuid.UUID, dict[uuid.UUID, int]] = field(default_factory=dict)

    async def limit(
        self, resource: str, scope: str, seconds: int, amount: float | None, **place: Any
    ) -> LimitRule:
        """Make a limit."""
        where = LimitPlace(resource, scope, seconds, **place)
        decimal = None if amount is None else Decimal(str(amount))
        manager = Scope.workspace(self.workspace.id)
        async with self.database.transaction(manager) as connection:
            limit_id = await insert_limit(connection, self.workspace.id, where, decimal)
        rule = LimitRule(
            limit_id, where.tenant_id, resource, scope, where.subject_id, seconds, decimal
        )
        self.rules.append(rule)
        return rule

    def demand(self, owner: Owner, **amounts: float) -> Demand:
        """Return what a run of a tenant wants."""
        units = {name: Decimal(str(amount)) for name, amount in amounts.items()}
        windows = applicable(self.rules, Subjects(owner), units)
        return Demand(uuid_utils.compat.uuid7(), owner, units, windows)

    def window(self, rule: LimitRule, owner: Owner) -> Window:
        """Return a limit as it binds a tenant."""
        (window,) = applicable([rule], Subjects(owner), {rule.resource: 1})
        return window

    async def reserve(self, *demands: Demand) -> list[Any]:
        """Reserve in one transaction."""
        owners = Scope.worker(demand.owner for demand in demands)
        async with self.database.transaction(owners) as connection:
            errors = await reserve(connection, demands)
            cursor = await connection.execute(
                "SELECT run_id, limit_id, slice FROM reservations WHERE run_id = ANY(%s)",
                ([demand.run_id for demand in demands],),
            )
            for row in await cursor.fetchall():
                self.slices.setdefault(row["run_id"], {})[row["limit_id"]] = row["slice"]
        return errors

    async def settle(self, demand: Demand, **used: float) -> None:
        """Enter what a run really used into the ledger, and settle it, as its end does."""
        async with self.database.transaction(Scope.worker([demand.owner])) as connection:
            for resource, amount in used.items():
                await connection.execute(
                    "INSERT INTO usage_records (id, workspace_id, tenant_id, run_id, resource,"
                    " amount) VALUES (%s, %s, %s, %s, %s, %s)",
                    (
                        uuid_utils.compat.uuid7(),
                        demand.owner.workspace_id,
                        demand.owner.tenant_id,
                        demand.run_id,
                        resource,
                        Decimal(str(amount)),
                    ),
                )
            await settle(connection, {demand.run_id: used})

    async def total(self, rule: LimitRule, subject: uuid.UUID) -> Decimal:
        """Return what a window counts, after a look that its buckets agree."""
        (row,) = await self.platform.rows(
            "SELECT total, coalesce((SELECT sum(amount) FROM credit_buckets AS b WHERE"
            " b.limit_id = w.limit_id AND b.subject_id = w.subject_id), 0) AS buckets"
            " FROM credit_windows AS w WHERE limit_id = %s AND subject_id = %s",
            rule.id,
            subject,
        )
        assert row["total"] == row["buckets"]
        return row["total"]


@pytest.fixture(scope="module")
async def ledger_database(platform):
    """As many connections as there are racers."""
    async with Database(platform.settings, platform.root, ["worker", "manager"], size=32) as opened:
        yield opened


@pytest.fixture
async def bench(platform, ledger_database, workspace, acme, globex):
    """The ledger in a workspace of its own."""
    owners = [Owner(workspace.id, await seeds.tenant_id(client)) for client in (acme, globex)]
    return Bench(platform, ledger_database, workspace, *owners)
