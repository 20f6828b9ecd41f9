"""The published JavaScript client works against the API, unchanged."""

from __future__ import annotations

import pytest

from tests.samples import crm_workspace

ACME = {"key": "acme", "name": "Acme Corp"}
GLOBEX = {"key": "globex", "name": "Globex"}


@pytest.fixture
async def ready(platform, workspace, worker, crm):
    """A workspace in which acme and globex each have a connection to the sample app."""
    await crm_workspace(platform, workspace, crm)
    for tenant in (ACME, GLOBEX):
        caller = await workspace.tenant(tenant["key"], tenant["name"])
        made = await caller.post(
            "/connections",
            json={"integrationKey": "crm", "credentials": {"apiKey": f"crm-{tenant['key']}-key"}},
        )
        assert made.status_code == 201, made.text
    return workspace


@pytest.mark.parametrize("way", ["signed", "minted"])
async def test_a_tenant_finds_its_own_connections_and_runs_against_its_own_app(drive, ready, way):
    """With a signed HS512 token or its own HS256 one, the client reaches just that tenant."""
    for tenant in (ACME, GLOBEX):
        found, ran, me = await drive(
            ready,
            tenant,
            [way, "connections"],
            [way, "run", "list-deals", {"limit": 3}],
            [way, "self"],
        )

        assert len(found["value"]["items"]) == 1
        assert {deal["id"].split("-")[0] for deal in ran["value"]["output"]["deals"]} == {
            tenant["key"]
        }
        assert ran["value"]["actionRunId"]
        assert me["value"]["internalId"] == tenant["key"]


async def test_every_way_of_running_an_action_works(drive, ready):
    """By key, by selector, and over a connection, each with the body that the client sends."""
    (found,) = await drive(ready, ACME, ["signed", "connections"])
    connection = found["value"]["items"][0]["id"]

    by_key, selected, over, qualified = await drive(
        ready,
        ACME,
        ["signed", "run", "list-deals", {"limit": 1}],
        ["signed", "runSelected", {"key": "list-deals", "integrationKey": "crm"}, {"limit": 1}],
        ["signed", "runOver", connection, "list-deals", {"limit": 1}],
        ["signed", "run", "crm.list-deals", {"limit": 1}],
    )

    for ran in (by_key, selected, over, qualified):
        assert len(ran["value"]["output"]["deals"]) == 1, ran


async def test_errors_arrive_as_the_classes_of_the_client(drive, ready, manager):
    """A wrong key, a missing action and a limit are typed errors with type and key."""
    (wrong,) = await drive(
        ready, ACME, ["signed", "connections"], secret="not-the-secret-of-this-workspace" * 3
    )
    assert wrong["error"]["isMembraneError"]
    assert (wrong["error"]["type"], wrong["error"]["key"]) == ("bad_request", "not_authenticated")

    (missing,) = await drive(ready, ACME, ["signed", "run", "no-such-action", {}])
    assert missing["error"]["isMembraneError"]
    assert missing["error"]["key"] == "not_found"

    limited = await manager.post(
        "/limits",
        json={"resource": "action-runs", "scope": "tenant", "window": "30d", "limit": 0},
    )
    assert limited.status_code == 201, limited.text
    (refused,) = await drive(ready, ACME, ["signed", "run", "list-deals", {}])
    assert refused["error"]["isMembraneError"]
    assert refused["error"]["key"] == "rate_limit_exceeded"


async def test_elements_are_read_adapted_and_reset(drive, ready):
    """A tenant adapts an action, its neighbour sees nothing of it, and reset takes it back."""
    patched, seen, listed = await drive(
        ready,
        ACME,
        ["signed", "patchAction", "list-deals", {"description": "ours"}],
        ["signed", "action", "list-deals"],
        ["signed", "allActions"],
    )
    assert patched["value"]["description"] == "ours"
    assert seen["value"]["isCustomized"] is True
    assert [each["key"] for each in listed["value"]].count("list-deals") == 1

    (neighbours,) = await drive(ready, GLOBEX, ["signed", "action", "list-deals"])
    assert neighbours["value"].get("description") != "ours"

    reset, after = await drive(
        ready,
        ACME,
        ["signed", "resetAction", "list-deals"],
        ["signed", "action", "list-deals"],
    )
    assert "error" not in reset
    assert after["value"]["isCustomized"] is False


async def test_a_manager_manages_tenants_and_the_log_is_each_tenants_own(drive, ready):
    """Customers are listed, made, archived and restored; the run log shows a tenant's own runs."""
    await drive(ready, GLOBEX, ["signed", "run", "list-deals", {"limit": 1}])
    made, listed = await drive(
        ready,
        ACME,
        ["admin", "createCustomer", {"name": "Initech", "internalId": "initech"}],
        ["admin", "customers"],
    )
    assert {each["internalId"] for each in listed["value"]["items"]} == {
        "acme",
        "globex",
        "initech",
    }
    archived, restored = await drive(
        ready,
        ACME,
        ["admin", "archiveCustomer", made["value"]["id"]],
        ["admin", "restoreCustomer", made["value"]["id"]],
    )
    assert "error" not in archived
    assert restored["value"]["internalId"] == "initech"

    (own,) = await drive(ready, ACME, ["signed", "logs"])
    (theirs,) = await drive(ready, GLOBEX, ["signed", "logs"])
    assert own["value"]["items"] == []
    assert [each["status"] for each in theirs["value"]["items"]] == ["success"]
