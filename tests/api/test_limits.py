"""Limits over HTTP: who writes them, what they count, and what a refused run is told."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.api import seeds
from tests.api.asking import ok, refused
from tests.samples import add_function


def about(**more):
    """Return the body of a limit on coins, an hour long, for each tenant."""
    return {"resource": "coins", "scope": "tenant", "window": "1h", "limit": 10, **more}


async def used(client, **params):
    """Return how much of the only limit is used."""
    (standing,) = (await ok(client.get("/usage", params=params)))["limits"]
    return standing["used"]


async def test_a_limit_is_made_read_changed_archived_and_restored(platform, workspace, manager):
    """The whole life of a limit; each step is on record."""
    made = await ok(manager.post("/limits", json=about(window="30d", limit=2.5)), 201)
    assert made["windowSeconds"] == 2_592_000
    assert (made["limit"], made["window"], made["scope"]) == (2.5, "30d", "tenant")
    path = f"/limits/{made['id']}"
    assert await ok(manager.get(path)) == made
    assert (await ok(manager.patch(path, json={"limit": None})))["limit"] is None
    assert (await ok(manager.put(path, json={**made, "limit": 7})))["limit"] == 7
    assert (await ok(manager.delete(path)))["archivedAt"]
    assert (await ok(manager.get("/limits")))["items"] == []
    archived = await ok(manager.get("/limits", params={"includeArchived": "true"}))
    assert [item["id"] for item in archived["items"]] == [made["id"]]
    assert (await ok(manager.post(f"{path}/restore")))["archivedAt"] is None
    assert [item["id"] for item in (await ok(manager.get("/limits")))["items"]] == [made["id"]]
    trail = await platform.rows(
        "SELECT tag, changes FROM audit_records WHERE workspace_id = %s ORDER BY id", workspace.id
    )
    assert [row["tag"].removeprefix("limit:") for row in trail] == [
        *("created", "changed", "changed", "archived", "restored")
    ]
    assert trail[2]["changes"]["limit"] == 7


async def test_one_limit_a_place(manager, acme):
    """Two limits on the same place are refused, also by restoring one; other windows are fine."""
    await seeds.tenant_id(acme)
    first = await ok(manager.post("/limits", json=about()), 201)
    await refused(manager.post("/limits", json=about(limit=5)), 409, "already_exists")
    await refused(manager.post("/limits", json=about(window=3600)), 409, "already_exists")
    await ok(manager.post("/limits", json=about(window="2h")), 201)
    await ok(manager.post("/limits", json=about(tenantKey="acme")), 201)
    await ok(manager.delete(f"/limits/{first['id']}"))
    await ok(manager.post("/limits", json=about()), 201)
    await refused(manager.post(f"/limits/{first['id']}/restore"), 409, "already_exists")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"resource": ""}, "/resource"),
        ({"resource": 'a"b'}, "/resource"),
        ({"resource": None}, "/resource"),
        ({"scope": "planet"}, "/scope"),
        ({"window": "31d"}, "/window"),
        ({"window": "soon"}, "/window"),
        ({"window": 0}, "/window"),
        ({"window": {}}, "/window"),
        ({"limit": -1}, "/limit"),
        ({"limit": "10"}, "/limit"),
        ({"limit": True}, "/limit"),
        ({"limit": 1e16}, "/limit"),
        ({"colour": "red"}, "/colour"),
        ({"integrationKey": "crm"}, "/"),
        ({"scope": "integration", "connectionKey": "main"}, "/"),
    ],
)
async def test_a_bad_limit_is_refused_by_path(manager, change, path):
    """What is wrong with a limit is named where it is wrong."""
    error = await refused(manager.post("/limits", json=about(**change)), 400)
    assert error["data"].get("errors", [error["data"]])[0]["path"].startswith(path)


async def test_a_limit_says_how_much(manager):
    """Leaving the limit out is not the same as unlimited."""
    body = about()
    del body["limit"]
    error = await refused(manager.post("/limits", json=body), 400)
    assert error["data"]["errors"][0]["path"] == "/limit"


@pytest.mark.parametrize(
    "change", [{"window": "2h"}, {"scope": "workspace"}, {"resource": "x"}, {"tenantKey": "acme"}]
)
async def test_a_limit_stays_where_it_stands(manager, change):
    """Only the amount changes; the rest would count in other windows."""
    made = await ok(manager.post("/limits", json=about()), 201)
    error = await refused(manager.patch(f"/limits/{made['id']}", json={"limit": 1, **change}), 400)
    assert error["data"]["errors"][0]["path"] == f"/{next(iter(change))}"
    assert (await ok(manager.get(f"/limits/{made['id']}")))["limit"] == 10


async def test_subjects_are_named_by_key_or_id(platform, workspace, manager, acme):
    """An integration, a connection or an action; a tenant's connection makes the limit its own."""
    tenant = await seeds.tenant_id(acme)
    crm = await seeds.integration(platform, workspace)
    link = await seeds.connection(platform, workspace, tenant, integration_id=crm, key="main")
    action = await add_function(platform, workspace.id, "echo")
    for scope, named, subject in (
        ("integration", {"integrationKey": "crm"}, crm),
        ("connection", {"connectionKey": "main"}, link),
        ("element", {"actionKey": "echo"}, action),
    ):
        made = await ok(manager.post("/limits", json=about(scope=scope, **named)), 201)
        assert made[f"{scope}Id"] == str(subject)
        assert made.get("tenantKey") == ("acme" if scope == "connection" else None)
        by_id = {f"{scope}Id": str(subject)}
        await refused(manager.post("/limits", json=about(scope=scope, **by_id)), 409)
        await refused(
            manager.post("/limits", json=about(scope=scope, **dict.fromkeys(named, "nope"))), 404
        )
        await refused(
            manager.post("/limits", json=about(scope=scope, **{f"{scope}Id": str(uuid.uuid4())})),
            404,
        )
    await refused(manager.post("/limits", json=about(tenantKey="nobody")), 404)


async def test_tenants_read_the_limits_that_bind_them(manager, acme, globex, make_workspace):
    """The workspace's and its own, less what its own stands in for; it writes none of them."""
    await seeds.tenant_id(acme)
    await seeds.tenant_id(globex)
    shared = await ok(manager.post("/limits", json=about(scope="workspace")), 201)
    each = await ok(manager.post("/limits", json=about()), 201)
    own = await ok(manager.put("/customers/acme/limits/coins", json={"window": "1h", "limit": 3}))
    assert (own["scope"], own["tenantKey"], own["limit"]) == ("tenant", "acme", 3)

    async def seen(client, **params):
        page = await ok(client.get("/limits", params=params))
        return {item["id"] for item in page["items"]}

    assert await seen(acme) == {shared["id"], own["id"]}
    assert await seen(globex) == {shared["id"], each["id"]}
    assert await seen(manager) == {shared["id"], each["id"], own["id"]}
    assert await seen(manager, tenantKey="acme") == {own["id"]}
    assert await seen(manager, scope="workspace") == {shared["id"]}
    assert await seen(manager, resource="x") == set()
    await refused(globex.get(f"/limits/{own['id']}"), 404, "not_found")
    await refused(globex.get("/limits", params={"tenantKey": "acme"}), 404, "not_found")
    assert (await ok(acme.get(f"/limits/{own['id']}")))["limit"] == 3
    for method, path in (
        ("POST", "/limits"),
        ("PATCH", f"/limits/{own['id']}"),
        ("PUT", f"/limits/{own['id']}"),
        ("DELETE", f"/limits/{own['id']}"),
        ("POST", f"/limits/{own['id']}/restore"),
    ):
        await refused(acme.request(method, path, json=about()), 403, "access_denied")
    stranger = await (await make_workspace()).manager()
    assert await seen(stranger) == set()
    for method in ("GET", "PATCH", "DELETE"):
        await refused(stranger.request(method, f"/limits/{each['id']}", json={"limit": 1}), 404)
    await refused(manager.get("/limits/x"), 404)


async def test_lists_of_limits_page(manager):
    """Pages join without a gap."""
    for hours in range(1, 6):
        await ok(manager.post("/limits", json=about(window=f"{hours}h")), 201)
    found, cursor = [], "0"
    while cursor:
        page = await ok(manager.get("/limits", params={"limit": 2, "cursor": cursor}))
        found += [item["window"] for item in page["items"]]
        cursor = page.get("cursor")
    assert found == ["1h", "2h", "3h", "4h", "5h"]


async def test_a_new_limit_counts_what_was_used_before(platform, workspace, manager, acme, globex):
    """Only inside its window, only of its resource, and by its subject."""
    tenant, other = await seeds.tenant_id(acme), await seeds.tenant_id(globex)
    crm = await seeds.integration(platform, workspace)
    link = await seeds.connection(platform, workspace, tenant, integration_id=crm, key="main")
    now = datetime.now(UTC)
    for amount, minutes, columns in (
        (1.5, 1, {"connection_id": link, "integration_id": crm}),
        (2, 50, {"integration_id": crm}),
        (100, 70, {"connection_id": link, "integration_id": crm}),
    ):
        at = now - timedelta(minutes=minutes)
        await seeds.usage(platform, workspace, tenant, amount, resource="coins", at=at, **columns)
    await seeds.usage(platform, workspace, tenant, 100, resource="other")
    await seeds.usage(platform, workspace, other, 10, resource="coins")
    for scope, named in (
        ("workspace", {}),
        ("tenant", {}),
        ("integration", {}),
        ("connection", {"connectionId": str(link)}),
    ):
        await ok(manager.post("/limits", json=about(scope=scope, limit=50, **named)), 201)
    standings = (await ok(manager.get("/usage")))["limits"]
    counted = {(each["scope"], each.get("tenantKey")): each["used"] for each in standings}
    assert counted == {
        ("workspace", None): 13.5,
        ("tenant", "acme"): 3.5,
        ("tenant", "globex"): 10,
        ("integration", None): 3.5,
        ("connection", "acme"): 1.5,
    }
    totals = await platform.rows(
        "SELECT w.total, (SELECT sum(b.amount) FROM credit_buckets AS b WHERE"
        " (b.limit_id, b.subject_id) = (w.limit_id, w.subject_id)) AS buckets"
        " FROM credit_windows AS w WHERE w.workspace_id = %s",
        workspace.id,
    )
    assert len(totals) == 5
    assert all(row["total"] == row["buckets"] for row in totals)


async def test_what_was_used_while_a_limit_did_not_count_counts_afterwards(
    platform, workspace, manager, acme
):
    """Unlimited for a while, archived for a while, or stood in for: the ledger remembers."""
    tenant = await seeds.tenant_id(acme)

    async def consume(amount):
        await seeds.usage(platform, workspace, tenant, amount, resource="coins")

    await consume(1)
    limit = await ok(manager.post("/limits", json=about()), 201)
    path = f"/limits/{limit['id']}"
    assert await used(acme) == 1
    await ok(manager.patch(path, json={"limit": None}))
    assert (await ok(acme.get("/usage")))["limits"] == []
    await consume(2)
    await ok(manager.patch(path, json={"limit": 20}))
    assert await used(acme) == 3
    await ok(manager.delete(path))
    await consume(3)
    await ok(manager.post(f"{path}/restore"))
    assert await used(acme) == 6
    own = await ok(manager.put("/customers/acme/limits/coins", json={"window": "1h", "limit": 99}))
    assert (await ok(acme.get("/usage")))["limits"][0]["limit"] == 99
    await consume(4)
    await ok(manager.delete(f"/limits/{own['id']}"))
    assert (await ok(acme.get("/usage")))["limits"][0]["limit"] == 20
    assert await used(acme) == 10


async def test_a_shared_limit_does_not_count_tenants_with_their_own(
    platform, workspace, manager, acme, globex
):
    """A tenant's own limit stands in for the workspace's: neither counts for the other."""
    for client, amount in ((acme, 3), (globex, 4)):
        tenant = await seeds.tenant_id(client)
        await seeds.usage(platform, workspace, tenant, amount, resource="coins")
    await ok(manager.post("/limits", json=about(scope="workspace", tenantKey="acme")), 201)
    await ok(manager.post("/limits", json=about(scope="workspace")), 201)
    standings = (await ok(manager.get("/usage")))["limits"]
    assert {each.get("tenantKey"): each["used"] for each in standings} == {"acme": 3, None: 4}
