"""While a run is claimed, what its tenant ran last is loaded: the next run mostly asks for it."""

from __future__ import annotations

from uuid import UUID

import pytest

from runtime.actions.prepared import Preparer
from runtime.credentials.vault import load_vault
from runtime.db import Database
from runtime.runs.hold import claim_runs
from runtime.runs.states import Ticket
from runtime.tenancy import Owner
from tests.waiting import eventually


class Counting(Database):
    """A database that counts what is asked of it, and what is answered."""

    asked = answered = 0

    async def ask(self, scope, *queries, **options):
        self.asked += 1
        try:
            return await super().ask(scope, *queries, **options)
        finally:
            self.answered += 1


@pytest.fixture
async def database(platform):
    async with Counting(platform.settings, platform.root, ["worker"], size=4) as database:
        yield database


async def test_the_last_action_is_loaded_before_it_is_asked_for(post, platform, database):
    """What is known was forgotten; the second run finds all of it loaded when it is claimed."""
    preparer = Preparer(database, load_vault(platform.settings))
    named = await post.run()
    owner = Owner(UUID(named["workspace_id"]), UUID(named["tenant_id"]))
    ticket = Ticket(UUID(named["run_id"]), owner, named["kind"])
    (claim,) = await claim_runs(database, [ticket], lease=30)
    before = database.asked
    first = await preparer.prepare(claim)
    needed = database.asked - before
    preparer.forget(owner.workspace_id)
    preparer.expect(owner)
    await eventually(lambda: database.answered == before + 2 * needed)
    second = await preparer.prepare(claim)
    assert database.asked == before + 2 * needed
    assert (second.action, second.revision) == (first.action, first.revision)
    await post.release(named)


async def test_what_a_tenant_ran_last_is_loaded_for_that_tenant_only(post, platform, database):
    """Nobody's run brings another tenant's action into memory."""
    preparer = Preparer(database, load_vault(platform.settings))
    named = await post.run()
    acme = Owner(UUID(named["workspace_id"]), UUID(named["tenant_id"]))
    (claim,) = await claim_runs(
        database, [Ticket(UUID(named["run_id"]), acme, named["kind"])], lease=30
    )
    await preparer.prepare(claim)
    other = post.owners["globex"]
    globex = Owner(other["workspace_id"], UUID(str(other["tenant_id"])))
    preparer.forget(None)
    before = database.asked
    preparer.expect(globex)
    await eventually(lambda: database.answered == database.asked > before)
    assert database.asked == before + 1  # the tenant itself
    await post.release(named)
