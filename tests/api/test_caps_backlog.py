"""How many runs of a tenant may wait: what submission is told."""

from __future__ import annotations

import pytest

from runtime.caps.store import backlog_cap
from runtime.tenancy import Owner, Scope
from tests.api import seeds
from tests.api.asking import ok


@pytest.fixture
def allowed(app, workspace):
    """Tells how many runs of a client's tenant may wait, as submission asks it."""

    async def ask(client, default=7):
        owner = Owner(workspace.id, await seeds.tenant_id(client))
        scope = Scope.tenant(owner.workspace_id, owner.tenant_id)
        async with app.state.services.database.transaction(scope) as connection:
            return await backlog_cap(connection, owner, default)

    return ask


async def test_a_tenants_own_cap_wins_over_the_default(manager, acme, globex, allowed):
    """The own cap, else the workspace's for each tenant, else the setting."""
    assert await allowed(acme) == 7
    running = {"scope": "tenant", "amount": 1}
    await ok(manager.put("/caps", json=running))
    assert await allowed(acme) == 7
    await ok(manager.put("/caps", json={**running, "state": "queued", "amount": 20}))
    assert await allowed(acme) == 20
    own = {"scope": "tenant", "state": "queued", "tenantKey": "acme"}
    for amount in (0, 3, None):
        await ok(manager.put("/caps", json={**own, "amount": amount}))
        assert await allowed(acme) == amount
        assert await allowed(globex) == 20


async def test_another_workspaces_caps_do_not_count(make_workspace, manager, acme, allowed):
    """A default of one workspace is none of another's."""
    stranger = await (await make_workspace()).manager()
    await ok(stranger.put("/caps", json={"scope": "tenant", "state": "queued", "amount": 1}))
    assert await allowed(acme) == 7
