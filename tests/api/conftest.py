"""What tests of the API begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
import uuid_utils.compat

from runtime.config.universe import load_universe

UNIVERSE = Path(__file__).parents[2] / "universe"


@pytest.fixture(scope="module")
async def universe(platform):
    """The public catalogue, loaded for one module's tests."""
    async with platform.owner() as owner:
        await load_universe(owner, UNIVERSE)
        yield
        await owner.execute("DELETE FROM elements WHERE layer = 'universe'")


@pytest.fixture
async def crm_integration(universe, manager):
    """The sample CRM, switched on in the workspace."""
    made = await manager.post(
        "/integrations",
        json={"connectorKey": "crm", "parameters": {"baseUri": "http://127.0.0.1:1"}},
    )
    assert made.status_code == 201, made.text
    return made.json()


@pytest.fixture
async def connect(platform, workspace, acme, crm_integration):
    """Makes a connection of acme's to the CRM, without calling it."""

    async def make(key: str) -> str:
        assert (await acme.get("/actions?limit=1")).status_code == 200  # now there is the tenant
        (row,) = await platform.rows(
            "INSERT INTO connections"
            " (id, workspace_id, tenant_id, integration_id, key, name, state)"
            " SELECT %s, workspace_id, id, %s, %s, %s, 'READY' FROM tenants"
            " WHERE workspace_id = %s AND key = 'acme' RETURNING id::text",
            *(uuid_utils.compat.uuid7(), crm_integration["id"], key, key, workspace.id),
        )
        return row["id"]

    return make
