"""Tenants: what they see of themselves, and how managers look after them."""

from __future__ import annotations

import asyncio

import pytest
import uuid_utils.compat

from runtime.dispatch import Outgoing
from runtime.tenancy import Owner
from tests.api import seeds
from tests.samples import add_function
from tests.waiting import eventually

#: What the ledger holds of a run that has reserved three coins of a workspace's limit.
_HELD = """
INSERT INTO credit_windows (limit_id, subject_id, workspace_id, total)
VALUES (%(limit)s, %(workspace)s, %(workspace)s, 3);
INSERT INTO credit_buckets (limit_id, subject_id, slice, workspace_id, amount)
SELECT %(limit)s, %(workspace)s, floor(extract(epoch FROM now()) / 10), %(workspace)s, 3;
INSERT INTO reservations (run_id, limit_id, workspace_id, tenant_id, subject_id, resource, slice,
    amount)
SELECT %(run)s, %(limit)s, %(workspace)s, %(tenant)s, %(workspace)s, 'coins', slice, 3
FROM credit_buckets WHERE limit_id = %(limit)s
"""


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


async def test_archive_takes_everything_down_and_restore_undoes_just_that(
    platform, workspace, manager, acme, globex
):
    """One transaction: connections off, queued runs stopped on record, running ones asked."""
    tenant, other = await seeds.tenant_id(acme), await seeds.tenant_id(globex)
    crm = await seeds.integration(platform, workspace)
    live = await seeds.connection(platform, workspace, tenant, integration_id=crm, key="live")
    gone = await seeds.connection(
        platform, workspace, tenant, integration_id=crm, key="gone", archived_at="now"
    )
    off = await seeds.connection(
        platform, workspace, tenant, integration_id=crm, key="off", deactivated_by="operator"
    )
    theirs = await seeds.connection(platform, workspace, other, integration_id=crm, key="live")
    queued = [await seeds.run(platform, workspace, tenant) for _ in range(3)]
    test = await seeds.run(platform, workspace, tenant, kind="connection-test")
    running = await seeds.run(
        platform, workspace, tenant, status="running", lease_token=uuid_utils.compat.uuid7()
    )
    done = await seeds.run(platform, workspace, tenant, status="completed")
    foreign = await seeds.run(platform, workspace, other)

    archived = (await manager.delete("/customers/acme")).json()
    assert archived["isActive"] is False
    assert archived["archivedAt"]
    states = {
        row["id"]: row["deactivated_by"]
        for row in await platform.rows(
            "SELECT id, deactivated_by FROM connections WHERE workspace_id = %s", workspace.id
        )
    }
    assert states == {live: "tenant", gone: None, off: "operator", theirs: None}
    runs = {
        row["id"]: row
        for row in await platform.rows("SELECT * FROM runs WHERE workspace_id = %s", workspace.id)
    }
    for run_id in [*queued, test]:
        assert runs[run_id]["status"] == "stopped"
        assert runs[run_id]["error"]["key"] == "stopped"
        assert runs[run_id]["finished_at"]
    assert (runs[running]["status"], runs[running]["stop_requested"]) == ("running", True)
    assert (runs[done]["status"], runs[done]["stop_requested"]) == ("completed", False)
    assert (runs[foreign]["status"], runs[foreign]["stop_requested"]) == ("queued", False)
    records = await platform.rows(
        "SELECT run_id, tag, status, tenant_id FROM activity_records WHERE workspace_id = %s",
        workspace.id,
    )
    assert {row["run_id"]: row["tag"] for row in records} == {
        **dict.fromkeys(queued, "action:run:stopped"),
        test: "connection:test:stopped",
    }
    assert len(records) == 4
    assert {row["tenant_id"] for row in records} == {tenant}

    assert (await manager.delete("/customers/acme")).status_code == 200
    count = "SELECT 1 FROM activity_records WHERE workspace_id = %s"
    assert len(await platform.rows(count, workspace.id)) == 4

    restored = (await manager.post("/customers/acme/restore")).json()
    assert restored["isActive"] is True
    states = {
        row["id"]: (row["deactivated_by"], row["archived_at"] is not None)
        for row in await platform.rows(
            "SELECT * FROM connections WHERE workspace_id = %s", workspace.id
        )
    }
    assert states == {
        live: (None, False),
        gone: (None, True),
        off: ("operator", False),
        theirs: (None, False),
    }
    assert runs[queued[0]]["status"] == "stopped"
    tags = [
        row["tag"]
        for row in await platform.rows(
            "SELECT tag FROM audit_records WHERE tenant_id = %s ORDER BY id", tenant
        )
    ]
    assert tags == ["tenant:archived", "tenant:restored"]


async def test_an_archived_tenants_token_is_refused_until_it_is_restored(manager, acme, globex):
    """403 at once where the archive was asked for; the neighbour notices nothing."""
    await acme.get("/self")
    await globex.get("/self")
    await manager.delete("/customers/acme")
    refused = await acme.get("/self")
    assert (refused.status_code, refused.json()["key"]) == (403, "access_denied")
    assert (await globex.get("/self")).status_code == 200
    await manager.post("/customers/acme/restore")
    assert (await acme.get("/self")).status_code == 200


async def test_an_archive_gives_back_what_a_handed_back_run_had_reserved(
    platform, workspace, manager, acme
):
    """A queued run that still holds credits lets go of them in the transaction that stops it."""
    tenant = await seeds.tenant_id(acme)
    limit = (
        await manager.post(
            "/limits", json={"resource": "coins", "scope": "workspace", "window": "1h", "limit": 5}
        )
    ).json()
    run_id = await seeds.run(platform, workspace, tenant, attempt=1)
    async with platform.owner() as connection:
        for statement in _HELD.split(";"):
            await connection.execute(
                statement,
                {
                    "limit": limit["id"],
                    "workspace": workspace.id,
                    "tenant": tenant,
                    "run": run_id,
                },
            )
    (before,) = (await manager.get("/usage")).json()["limits"]
    assert (before["used"], before["reserved"], before["remaining"]) == (0, 3, 2)
    await manager.delete("/customers/acme")
    (after,) = (await manager.get("/usage")).json()["limits"]
    assert (after["used"], after["reserved"], after["remaining"]) == (0, 0, 5)
    (window,) = await platform.rows(
        "SELECT total FROM credit_windows WHERE limit_id = %s", limit["id"]
    )
    assert window["total"] == 0


async def test_a_run_that_is_being_taken_during_the_archive_is_caught(
    platform, workspace, manager, acme
):
    """The archive waits for no worker's lock, and yet no run that a worker takes goes unnoticed."""
    tenant = await seeds.tenant_id(acme)
    run_id = await seeds.run(platform, workspace, tenant)
    async with platform.owner() as worker:
        async with worker.transaction():
            await worker.execute(
                "UPDATE runs SET status = 'running', lease_token = gen_random_uuid() WHERE id = %s",
                (run_id,),
            )
            archiving = asyncio.create_task(manager.delete("/customers/acme"))
            await eventually(
                lambda: platform.rows(
                    "SELECT 1 FROM tenants WHERE id = %s AND archived_at IS NOT NULL", tenant
                )
            )
        assert (await archiving).status_code == 200
    (row,) = await platform.rows("SELECT status, stop_requested FROM runs WHERE id = %s", run_id)
    assert (row["status"], row["stop_requested"]) == ("running", True)


async def test_a_stopped_run_never_runs_though_its_message_arrives(
    platform, workspace, app, manager, acme, globex, worker
):
    """Whoever waits for it is woken; a message that comes later changes nothing."""
    await add_function(platform, workspace.id, "echo")
    tenant = await seeds.tenant_id(acme)
    run_id = await seeds.run(platform, workspace, tenant)
    waiting = asyncio.create_task(manager.get(f"/runs/{run_id}", params={"wait": 60}))
    await eventually(lambda: app.state.services.waiters._events)
    await manager.delete("/customers/acme")
    async with asyncio.timeout(1):
        assert (await waiting).json()["status"] == "stopped"
    owner = Owner(workspace.id, tenant)
    dispatch = app.state.services.submission.dispatch
    await dispatch.send([Outgoing(run_id, owner, "action", "default")])
    after = await globex.post("/actions/echo/run", params={"async": "true"}, json={"input": 1})
    ended = await globex.get(after.headers["location"], params={"wait": 20})
    assert ended.json()["status"] == "completed"
    (row,) = await platform.rows("SELECT status, attempt FROM runs WHERE id = %s", run_id)
    assert (row["status"], row["attempt"]) == ("stopped", 0)
    records = await platform.rows("SELECT tag FROM activity_records WHERE run_id = %s", run_id)
    assert [row["tag"] for row in records] == ["action:run:stopped"]


async def test_a_running_run_is_stopped_by_the_archive(platform, workspace, manager, acme, worker):
    """What is under way when its tenant is archived ends soon, as stopped, and once."""
    await add_function(platform, workspace.id, "sleep")
    handle = await acme.post(
        "/actions/sleep/run", params={"async": "true"}, json={"input": {"seconds": 60}}
    )
    run_id = handle.json()["id"]

    async def status():
        (row,) = await platform.rows("SELECT status FROM runs WHERE id = %s", run_id)
        return row["status"]

    async def is_running():
        return await status() == "running"

    await eventually(is_running)
    await manager.delete("/customers/acme")

    async def is_stopped():
        return await status() == "stopped"

    await eventually(is_stopped, seconds=5)
    records = await platform.rows("SELECT tag FROM activity_records WHERE run_id = %s", run_id)
    assert [row["tag"] for row in records] == ["action:run:stopped"]
