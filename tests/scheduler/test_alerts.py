"""Alerts: once for each crossing, ended with their cause, and seen by whom they are about."""

from __future__ import annotations

import pytest

from runtime.db import Database
from scheduler.alerts import watch_connections, watch_dead_letters, watch_limits
from tests.api.asking import ok, refused
from tests.api.seeds import connection, integration, run, tenant_id, usage


@pytest.fixture
async def database(platform):
    """The scheduler's own login."""
    async with Database(platform.settings, platform.root, ["scheduler"], size=2) as opened:
        yield opened


async def _alerts(caller, query: str = ""):
    return (await ok(caller.get(f"/alerts{query}")))["items"]


@pytest.fixture
def used(platform, workspace, acme, manager):
    """Has acme use units, as of now, and counts its limit anew."""

    async def use(amount: float, limit: dict) -> None:
        await usage(platform, workspace, await tenant_id(acme), amount, resource="units")
        await ok(manager.patch(f"/limits/{limit['id']}", json={"limit": None}))
        await ok(manager.patch(f"/limits/{limit['id']}", json={"limit": limit["limit"]}))

    return use


@pytest.fixture
async def limit(manager, acme):
    """A hundred units a day for each tenant."""
    await acme.get("/self")
    body = {"resource": "units", "scope": "tenant", "window": "1d", "limit": 100}
    return await ok(manager.post("/limits", json=body), 201)


async def test_a_threshold_is_told_of_once(database, manager, acme, globex, limit, used):
    """At 80 %, and again at all of it; acme sees its own, globex sees nothing of it."""
    assert limit["alertAt"] == [0.8, 1.0]
    await used(79, limit)
    await watch_limits(database)
    assert await _alerts(manager) == []
    await used(2, limit)
    for _ in range(3):
        await watch_limits(database)
    (alert,) = await _alerts(manager)
    assert (alert["type"], alert["severity"], alert["status"]) == (
        "creditLimit",
        "warning",
        "ongoing",
    )
    assert alert["data"]["threshold"] == 0.8
    assert (alert["data"]["used"], alert["data"]["limit"]) == (81, 100)
    await used(30, limit)
    await watch_limits(database)
    assert [one["severity"] for one in await _alerts(acme)] == ["critical", "warning"]
    assert await _alerts(globex) == []
    await refused(globex.get(f"/alerts/{alert['id']}"), 404)
    assert (await ok(acme.get(f"/alerts/{alert['id']}")))["id"] == alert["id"]
    await refused(acme.post(f"/alerts/{alert['id']}/resolve"), 403)


async def test_it_ends_when_use_falls_well_below(database, manager, limit, used):
    """Not already just below the threshold, where it would come and go."""
    await used(81, limit)
    await watch_limits(database)
    path = f"/limits/{limit['id']}"
    await ok(manager.patch(path, json={"limit": 105}))  # 77 %
    await watch_limits(database)
    assert [one["status"] for one in await _alerts(manager)] == ["ongoing"]
    await ok(manager.patch(path, json={"limit": 200}))
    await watch_limits(database)
    (alert,) = await _alerts(manager)
    assert (alert["status"], alert["isCauseGone"]) == ("resolved", True)
    await ok(manager.patch(path, json={"limit": 100}))
    await watch_limits(database)
    assert [one["status"] for one in await _alerts(manager)] == ["ongoing", "resolved"]


async def test_what_was_seen_to_is_not_raised_again(database, manager, limit, used):
    """As long as its cause lasts."""
    await used(81, limit)
    await watch_limits(database)
    (alert,) = await _alerts(manager)
    resolved = await ok(manager.post(f"/alerts/{alert['id']}/resolve"))
    assert (resolved["status"], resolved["isCauseGone"]) == ("resolved", False)
    await watch_limits(database)
    assert len(await _alerts(manager)) == 1
    assert await _alerts(manager, "?status=ongoing") == []
    await refused(manager.get("/alerts?status=lost"), 400)


async def test_thresholds_are_settable(database, manager, limit, used):
    """Any parts, none for no alerts; what is no part is refused by its place."""
    path = f"/limits/{limit['id']}"
    changed = await ok(manager.patch(path, json={"alertAt": [0.5, 0.25, 0.5]}))
    assert changed["alertAt"] == [0.25, 0.5]
    await used(30, limit)
    await watch_limits(database)
    assert [one["data"]["threshold"] for one in await _alerts(manager)] == [0.25]
    await ok(manager.patch(path, json={"alertAt": []}))
    await watch_limits(database)
    assert [one["status"] for one in await _alerts(manager)] == ["resolved"]
    for bad in ([0], [1.5], ["0.5"], 0.5):
        error = await refused(manager.patch(path, json={"alertAt": bad}), 400)
        assert error["data"]["errors"][0]["path"].startswith("/alertAt")


async def test_of_several_schedulers_one_looks(database, platform, manager, limit, used):
    """While one does, the others leave it to it."""
    await used(81, limit)
    async with platform.owner() as owner:
        await owner.execute("BEGIN")
        await owner.execute(
            "SELECT pg_advisory_xact_lock(hashtext('alerts'), hashtext('creditLimit'))"
        )
        assert await watch_limits(database) == 0
        await owner.execute("COMMIT")
    assert await watch_limits(database) >= 1


async def test_a_limit_that_another_stands_in_for(database, manager, acme, limit, used):
    """A tenant's own limit is the one that counts for it, and the one that alerts."""
    await used(90, limit)
    await watch_limits(database)
    body = {**{name: limit[name] for name in ("resource", "scope", "window")}, "limit": 1000}
    tenant = (await ok(acme.get("/self")))["id"]
    await ok(manager.post("/limits", json={**body, "tenantId": tenant}), 201)
    await watch_limits(database)
    assert [one["status"] for one in await _alerts(manager)] == ["resolved"]


async def test_a_workspaces_limit_is_the_managers_alone(
    database, platform, workspace, manager, acme
):
    """A limit that all tenants share says nothing to any of them."""
    await acme.get("/self")
    body = {"resource": "units", "scope": "workspace", "window": "1d", "limit": 10}
    await usage(platform, workspace, await tenant_id(acme), 10, resource="units")
    await ok(manager.post("/limits", json=body), 201)
    await watch_limits(database)
    assert [one["severity"] for one in await _alerts(manager)] in (
        ["critical", "warning"],
        ["warning", "critical"],
    )
    assert await _alerts(acme) == []


async def test_a_connection_that_needs_its_customer(database, platform, workspace, acme, manager):
    """An alert for the tenant, until it is well or archived."""
    tenant = await tenant_id(acme)
    made = await connection(
        platform,
        workspace,
        tenant,
        integration_id=await integration(platform, workspace),
        state="CLIENT_ACTION_REQUIRED",
    )
    await watch_connections(database)
    await watch_connections(database)
    (alert,) = await _alerts(acme)
    assert alert["type"] == "connectionClientActionRequired"
    assert alert["data"]["connectionId"] == str(made)
    async with platform.owner() as owner:
        await owner.execute("UPDATE connections SET state = 'READY' WHERE id = %s", (made,))
    await watch_connections(database)
    (alert,) = await _alerts(acme)
    assert alert["status"] == "resolved"


async def test_dead_letters_that_pile_up(database, platform, workspace, acme, manager):
    """An alert for the workspace at so many, gone at half of them."""
    tenant = await tenant_id(acme)
    made = [
        await run(platform, workspace, tenant, status="failed", dead_reason="failed")
        for _ in range(6)
    ]
    await watch_dead_letters(database, 7)
    assert await _alerts(manager) == []
    await watch_dead_letters(database, 6)
    (alert,) = await _alerts(manager)
    assert alert["data"] == {"deadLetters": 6, "threshold": 6}
    assert await _alerts(acme) == []
    await ok(manager.post("/dead-letters/purge", json={"ids": [str(each) for each in made[:4]]}))
    await watch_dead_letters(database, 6)
    assert [one["status"] for one in await _alerts(manager)] == ["resolved"]


async def test_alerts_are_told_of(database, manager, limit, used, platform, workspace):
    """An endpoint that wants to know gets each once."""
    body = {"url": "http://127.0.0.1:9/", "events": ["alert.created"]}
    await ok(manager.post("/webhook-endpoints", json=body), 201)
    await used(81, limit)
    await watch_limits(database)
    await watch_limits(database)
    rows = await platform.rows(
        "SELECT event, data FROM webhook_deliveries WHERE workspace_id = %s", workspace.id
    )
    (alert,) = await _alerts(manager)
    assert [row["event"] for row in rows] == ["alert.created"]
    assert rows[0]["data"]["alert"]["id"] == alert["id"]
    assert rows[0]["data"]["alert"]["data"] == alert["data"]
