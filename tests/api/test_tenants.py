"""Tenants: what they see of themselves, and how managers look after them."""

from __future__ import annotations

import pytest

from tests.api import seeds


async def test_self_is_the_tenant_of_the_token(acme, workspace):
    """A tenant reads itself in the contract's shape."""
    shown = (await acme.get("/self")).json()
    assert shown["name"] == "Acme Corp"
    assert shown["internalId"] == "acme"
    assert shown["workspaceKey"] == workspace.key
    assert (shown["isActive"], shown["isTest"], shown["fields"]) == (True, False, {})
    assert shown["lastActiveAt"]
    assert "archivedAt" not in shown


async def test_self_of_a_manager_is_the_workspace(manager, workspace):
    """A management token speaks for the workspace and for no tenant."""
    shown = (await manager.get("/self")).json()
    assert shown["isWorkspaceManager"] is True
    assert shown["workspace"]["id"] == str(workspace.id)
    refused = await manager.patch("/self", json={"credentials": {"a": "b"}})
    assert refused.status_code == 403


async def test_own_credentials_are_sealed_and_never_returned(platform, acme):
    """PATCH /self keeps credentials sealed; no answer and no audit record repeats them."""
    answer = await acme.patch("/self", json={"credentials": {"apiKey": "sesame-open"}})
    assert answer.status_code == 200
    assert "sesame-open" not in answer.text
    tenant = await seeds.tenant_id(acme)
    (stored,) = await platform.rows(
        "SELECT sealed, version FROM sealed_values WHERE subject_id = %s", tenant
    )
    assert b"sesame" not in bytes(stored["sealed"])
    await acme.patch("/self", json={"credentials": {"apiKey": "other"}})
    (again,) = await platform.rows(
        "SELECT version FROM sealed_values WHERE subject_id = %s", tenant
    )
    assert again["version"] == stored["version"] + 1
    trail = await platform.rows("SELECT * FROM audit_records WHERE tenant_id = %s", tenant)
    assert [row["tag"] for row in trail] == ["tenant:credentials_set"] * 2
    assert trail[0]["actor"] == "tenant:acme"
    assert "sesame" not in str(trail)
    await acme.patch("/self", json={"credentials": None})
    assert not await platform.rows("SELECT 1 FROM sealed_values WHERE subject_id = %s", tenant)


@pytest.mark.parametrize("body", [{}, {"credentials": "x"}, {"name": "Me"}, {"credentials": [1]}])
async def test_self_takes_credentials_only(acme, body):
    """A tenant cannot rename itself; the error names the path."""
    refused = await acme.patch("/self", json=body)
    assert refused.status_code == 400
    assert refused.json()["data"]["errors"][0]["path"] in ("/credentials", "/name")


async def test_a_manager_makes_changes_and_finds_a_tenant(platform, manager, workspace):
    """Create, get by id, by key and by query, patch, replace; each change is on record."""
    made = await manager.post(
        "/customers",
        json={
            "name": "Acme Corp",
            "internalId": "acme",
            "fields": {"plan": {"name": "pro", "seats": 3}},
            "aiCreditsRolling30DayLimit": 100,
        },
    )
    assert made.status_code == 201
    tenant = made.json()
    assert tenant["aiCreditsRolling30DayLimit"] == 100
    for path, query in (
        (f"/customers/{tenant['id']}", {}),
        ("/customers/acme", {}),
        ("/customer", {"id": tenant["id"]}),
        ("/customer", {"key": "acme"}),
        ("/customer", {"internalId": "acme"}),
    ):
        assert (await manager.get(path, params=query)).json() == tenant
    patched = await manager.patch(
        "/customers/acme",
        json={
            "fields": {"plan": {"seats": None}, "vip": True},
            "aiCreditsRolling30DayLimit": None,
        },
    )
    assert patched.json()["fields"] == {"plan": {"name": "pro"}, "vip": True}
    assert patched.json()["aiCreditsRolling30DayLimit"] is None
    assert patched.json()["name"] == "Acme Corp"
    put = await manager.put("/customer", params={"key": "acme"}, json={"name": "A", "isTest": True})
    assert (put.json()["fields"], put.json()["isTest"]) == ({}, True)
    assert put.json()["internalId"] == "acme"
    trail = await platform.rows(
        "SELECT tag, actor, changes FROM audit_records WHERE workspace_id = %s"
        " AND target_kind = 'tenant' ORDER BY id",
        workspace.id,
    )
    assert [row["tag"] for row in trail] == ["tenant:created", "tenant:changed", "tenant:changed"]
    assert trail[2]["changes"] == {"name": "A", "fields": {}, "isTest": True}
    assert {row["actor"] for row in trail} == {"manager"}


async def test_a_tenant_gets_a_key_if_it_has_none(manager):
    """Without an internalId one is made, and it is a good one for tokens."""
    made = (await manager.post("/customers", json={"name": "Nameless"})).json()
    assert len(made["internalId"]) == 32
    other = (await manager.post("/customers", json={"name": "Nameless"})).json()
    assert other["internalId"] != made["internalId"]


async def test_a_key_is_taken_once(manager, acme):
    """A second tenant with the same key is refused, also by a change of key."""
    await acme.get("/self")
    refused = await manager.post("/customers", json={"name": "Acme", "internalId": "acme"})
    assert (refused.status_code, refused.json()["key"]) == (409, "already_exists")
    await manager.post("/customers", json={"name": "Globex", "internalId": "globex"})
    moved = await manager.patch("/customers/globex", json={"internalId": "acme"})
    assert moved.status_code == 409
    moved = await manager.patch("/customers/globex", json={"internalId": "globex-2"})
    assert moved.json()["internalId"] == "globex-2"


async def test_keys_with_a_slash_are_reached_by_query(manager):
    """A key may hold what a path cannot; the singular route takes it."""
    await manager.post("/customers", json={"name": "Odd", "internalId": "a/b?c"})
    assert (await manager.get("/customer", params={"key": "a/b?c"})).json()["name"] == "Odd"
    assert (await manager.delete("/customer", params={"key": "a/b?c"})).status_code == 200
    restored = await manager.post("/customer/restore", params={"internalId": "a/b?c"})
    assert restored.json()["isActive"] is True


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "a\u0000b"}, "/name"),
        ({"name": 5}, "/name"),
        ({"name": "A", "internalId": ""}, "/internalId"),
        ({"name": "A", "internalId": "x" * 256}, "/internalId"),
        ({"name": "A", "fields": []}, "/fields"),
        ({"name": "A", "fields": {"big": "x" * 20_000}}, "/fields"),
        ({"name": "A", "isTest": "yes"}, "/isTest"),
        ({"name": "A", "aiCreditsRolling30DayLimit": -1}, "/aiCreditsRolling30DayLimit"),
        ({"name": "A", "colour": "red"}, "/colour"),
    ],
)
async def test_a_bad_tenant_is_refused_by_path(manager, body, path):
    """What is wrong with a body is named where it is wrong."""
    refused = await manager.post("/customers", json=body)
    assert refused.status_code == 400
    assert refused.json()["data"]["errors"][0]["path"].startswith(path)


async def test_fields_may_hold_any_json(manager):
    """What PostgreSQL cannot store as text is made storable, not an error inside."""
    made = await manager.post("/customers", json={"name": "A", "fields": {"nul": "a\u0000b"}})
    assert made.status_code == 201
    assert made.json()["fields"]["nul"] == "a\ufffdb"


async def test_merged_fields_stay_within_their_size(manager):
    """Patches cannot grow a tenant's fields past what one request may say."""
    await manager.post("/customers", json={"name": "A", "internalId": "acme"})
    for name in ("one", "two"):
        answer = await manager.patch("/customers/acme", json={"fields": {name: "x" * 10_000}})
    assert answer.status_code == 400
    assert answer.json()["data"]["errors"][0]["path"] == "/fields"


async def test_lists_page_and_filter(manager):
    """cursor=0 is the start; pages join without a gap; filters narrow."""
    for number in range(5):
        await manager.post(
            "/customers",
            json={"name": f"Tenant {number}", "internalId": f"t-{number}", "isTest": number == 3},
        )
    await manager.delete("/customers/t-4")
    found, cursor = [], "0"
    while cursor:
        page = (await manager.get("/customers", params={"limit": 3, "cursor": cursor})).json()
        found += [item["internalId"] for item in page["items"]]
        cursor = page.get("cursor")
    assert found == ["t-0", "t-1", "t-2", "t-3"]

    async def keys(**params):
        page = (await manager.get("/customers", params=params)).json()
        return [item["internalId"] for item in page["items"]]

    assert await keys(isTest="true") == ["t-3"]
    assert await keys(isActive="false") == ["t-4"]
    assert await keys(includeArchived="true", isTest="false") == ["t-0", "t-1", "t-2", "t-4"]
    assert await keys(search="TENANT 2") == ["t-2"]
    assert await keys(search="t-1") == ["t-1"]
    assert await keys(search="%") == []
    assert (await manager.get("/customers", params={"limit": 0})).status_code == 400
    assert (await manager.get("/customers", params={"cursor": "x.y"})).status_code == 400
    assert (await manager.get("/customers", params={"search": "\x00"})).status_code == 400


async def test_tenants_are_for_managers_of_their_workspace(make_workspace, acme, globex, manager):
    """A tenant's token gets 403 everywhere; another workspace's manager finds nobody."""
    await acme.get("/self")
    acme_id = (await globex.get("/self")).json()["id"]
    for method, path in (
        ("GET", "/customers"),
        ("POST", "/customers"),
        ("GET", f"/customers/{acme_id}"),
        ("PUT", "/customers/acme"),
        ("PATCH", "/customers/acme"),
        ("DELETE", "/customers/acme"),
        ("POST", "/customers/acme/restore"),
        ("GET", "/customer?key=acme"),
        ("DELETE", "/customer?key=acme"),
        ("PUT", "/customers/acme/limits/action-runs"),
    ):
        refused = await acme.request(method, path)
        assert (refused.status_code, refused.json()["key"]) == (403, "access_denied"), path
    stranger = await (await make_workspace()).manager()
    assert (await stranger.get("/customers")).json() == {"items": []}
    for method, path in (
        ("GET", f"/customers/{acme_id}"),
        ("PATCH", "/customers/acme"),
        ("DELETE", f"/customer?id={acme_id}"),
        ("POST", "/customers/acme/restore"),
    ):
        assert (await stranger.request(method, path, json={})).status_code == 404, path
    assert (await manager.get("/customers/nobody")).status_code == 404
    assert (await manager.get("/customers/%00")).status_code in (400, 404)
    assert (await manager.get("/customer")).status_code == 400
