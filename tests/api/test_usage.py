"""What was used: by resource and by time, and of which limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api import seeds
from tests.api.asking import ok, refused


async def test_usage_adds_up_by_hour_and_day(platform, workspace, acme):
    """Totals and their history come from the ledger, exactly, in the period that was asked for."""
    tenant = await seeds.tenant_id(acme)
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    day = noon - timedelta(days=2)
    for amount, at in (
        (0.1, day),
        (0.2, day + timedelta(minutes=59)),
        (1, day - timedelta(days=1)),
    ):
        await seeds.usage(platform, workspace, tenant, amount, resource="coins", at=at)
    await seeds.usage(platform, workspace, tenant, 3, resource="action-runs", at=day)
    shown = await ok(acme.get("/usage"))
    assert shown["group"] == "day"
    assert shown["limits"] == []
    runs, coins = shown["resources"]
    assert (runs["resource"], runs["total"]) == ("action-runs", 3)
    assert (coins["resource"], coins["total"]) == ("coins", 1.3)
    midnight = day.replace(hour=0)
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    assert coins["history"] == [
        {"from": (midnight - timedelta(days=1)).strftime(stamp), "amount": 1},
        {"from": midnight.strftime(stamp), "amount": 0.3},
    ]
    hours = {
        "group": "hour",
        "from": day.isoformat(),
        "to": (day + timedelta(minutes=30)).isoformat(),
        "resource": "coins",
    }
    (coins,) = (await ok(acme.get("/usage", params=hours)))["resources"]
    assert (coins["total"], coins["history"][0]["from"]) == (0.1, day.strftime(stamp))


async def test_tenants_see_their_own_usage_and_managers_filter(
    platform, workspace, acme, globex, manager, make_workspace
):
    """A tenant's usage is its own, whatever it asks for; limits that all share are not in it."""
    for client, amount in ((acme, 1), (globex, 10)):
        tenant = await seeds.tenant_id(client)
        await seeds.usage(platform, workspace, tenant, amount, resource="coins")
    for scope in ("workspace", "tenant"):
        body = {"resource": "coins", "scope": scope, "window": "1h", "limit": 100}
        await ok(manager.post("/limits", json=body), 201)

    async def seen(client, **params):
        shown = await ok(client.get("/usage", params=params))
        total = sum(each["total"] for each in shown["resources"])
        return total, {(each["scope"], each["used"]) for each in shown["limits"]}

    assert await seen(acme) == (1, {("tenant", 1)})
    assert await seen(globex) == (10, {("tenant", 10)})
    everything = {("workspace", 11), ("tenant", 1), ("tenant", 10)}
    assert await seen(manager) == (11, everything)
    assert await seen(manager, tenantKey="acme") == (1, {("tenant", 1)})
    assert await seen(manager, resource="other") == (0, set())
    await refused(acme.get("/usage", params={"tenantKey": "globex"}), 404, "not_found")
    await refused(manager.get("/usage", params={"tenantId": str(workspace.id)}), 404)
    assert await seen(await (await make_workspace()).manager()) == (0, set())


async def test_a_limit_that_nobody_used_is_shown_as_untouched(acme, globex, manager):
    """What is left is known before the first run, by tenant and for the whole workspace."""
    await seeds.tenant_id(acme)
    for scope, limit in (("workspace", 7), ("tenant", 5)):
        body = {"resource": "coins", "scope": scope, "window": "10s", "limit": limit}
        await ok(manager.post("/limits", json=body), 201)
    await ok(manager.put("/customers/acme/limits/coins", json={"window": "10s", "limit": 2}))

    async def left(client, **params):
        shown = await ok(client.get("/usage", params=params))
        return {
            (each["scope"], each.get("tenantKey"), each["remaining"]) for each in shown["limits"]
        }

    assert await left(acme) == {("tenant", "acme", 2)}
    assert await left(globex) == {("tenant", "globex", 5)}
    assert await left(manager) == {("workspace", None, 7), ("tenant", "acme", 2)}
    (standing,) = (await ok(acme.get("/usage")))["limits"]
    assert (standing["used"], standing["reserved"], standing["window"]) == (0, 0, "10s")
    assert "resetsAt" not in standing


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"group": "week"}, "/group"),
        ({"from": "x"}, "/from"),
        ({"from": "2026-05-01", "to": "2026-04-01"}, "/from"),
        ({"from": "2026-01-01", "to": "2026-04-01", "group": "hour"}, "/from"),
    ],
)
async def test_a_bad_period_is_named(acme, params, path):
    """What is wrong with a query is said by parameter."""
    body = await refused(acme.get("/usage", params=params), 400)
    assert body["data"]["errors"][0]["path"] == path
