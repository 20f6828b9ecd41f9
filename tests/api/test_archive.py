"""Archiving a tenant: what it takes down at once, and what a restore brings back."""

from __future__ import annotations

import asyncio

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
