"""Which triggers are live: worked out by the scheduler, with its rights, from what was written."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest

from runtime.lanes.client import connect
from runtime.triggers.reconcile import reconcile
from scheduler import triggers
from scheduler.triggers import reconcile_triggers, reconcile_when_told
from tests.api import seeds
from tests.api.asking import ok
from tests.waiting import eventually

HOURLY = {"tick": {"type": "schedule-trigger", "config": {"intervalMinutes": 60}}}


@pytest.fixture
async def crm(platform, workspace):
    """An integration of the workspace."""
    return await seeds.integration(platform, workspace)


@pytest.fixture
def link(platform, workspace, acme, crm):
    """Makes connections of acme's to it."""

    async def link():
        tenant = await seeds.tenant_id(acme)
        return await seeds.connection(platform, workspace, tenant, integration_id=crm)

    return link


@pytest.fixture
def shown(database, redis):
    """Lists a caller's triggers once the scheduler has seen to them."""

    async def shown(caller, **query):
        await ok(caller.get("/self"))  # now there is the tenant
        await reconcile_triggers(database, redis)
        return (await ok(caller.get("/flow-triggers", params=query)))["items"]

    return shown


@pytest.fixture
def live(shown):
    """Lists the node keys of a caller's live triggers."""

    async def live(caller, **query):
        return sorted(each["nodeKey"] for each in await shown(caller, isLive="true", **query))

    return live


async def make(caller, nodes=HOURLY, path="/flows", **spec):
    """Make a flow and return its key."""
    key = f"flow-{uuid.uuid4().hex[:8]}"
    await ok(caller.post(path, json={"key": key, "nodes": nodes, **spec}), 201)
    return key


async def test_a_flow_of_the_workspace_waits_for_the_tenant(manager, acme, globex, shown, live):
    """Until a tenant makes it its own, or it makes itself for everybody."""
    key = await make(manager)
    assert await shown(manager) == []

    await ok(acme.patch(f"/flows/{key}", json={"name": "Mine"}))
    (mine,) = await shown(acme)
    assert mine["isLive"]
    assert mine["flowKey"] == key
    assert mine["nodeKey"] == "tick"
    assert mine["type"] == "schedule-trigger"
    assert mine["config"] == {"intervalMinutes": 60}
    assert await live(globex) == []

    await ok(manager.patch(f"/flows/{key}", json={"autoCreateInstances": True}))
    assert await live(globex) == ["tick"]
    assert (await shown(acme))[0]["id"] == mine["id"]


async def test_what_a_tenant_adapts_is_what_is_live(manager, acme, globex, shown):
    """Its config, and its own switch."""
    key = await make(manager, autoCreateInstances=True)
    change = {"nodes": {"tick": {"config": {"intervalMinutes": 5}}}}
    await ok(acme.patch(f"/flows/{key}", json=change))
    assert (await shown(acme))[0]["config"] == {"intervalMinutes": 5}
    assert (await shown(globex))[0]["config"] == {"intervalMinutes": 60}

    await ok(acme.patch(f"/flows/{key}", json={"enabled": False}))
    (off,) = await shown(acme)
    assert not off["isLive"]
    assert off["reason"] == "The flow is not enabled."
    assert (await shown(globex))[0]["isLive"]
    await ok(acme.post(f"/flows/{key}/reset"))
    (again,) = await shown(acme)
    assert again["isLive"]
    assert again["id"] == off["id"]
    assert "reason" not in again


async def test_a_flow_of_an_integration_goes_by_connections(
    manager, acme, globex, crm, link, live, shown
):
    """One trigger for each connection; a row at the connection's layer will do instead."""
    key = await make(manager, path=f"/integrations/{crm}/flows")
    connection = await link()
    assert await live(acme) == []
    await ok(acme.patch(f"/connections/{connection}/flows/{key}", json={"name": "Mine"}))
    (one,) = await shown(acme)
    assert one["connectionId"] == str(connection)
    assert one["integrationId"] == str(crm)

    another = await link()
    assert await live(acme, connectionId=str(another)) == []
    await ok(manager.patch(f"/integrations/{crm}/flows/{key}", json={"autoCreateInstances": True}))
    assert await live(acme, connectionId=str(another)) == ["tick"]
    assert await live(acme) == ["tick", "tick"]
    assert await live(globex) == []


async def test_looking_at_a_flow_starts_nothing(manager, acme, crm, link, live):
    """An instance that begins with a look is not live; made on purpose, or switched on, it is."""
    key = await make(manager, path=f"/integrations/{crm}/flows")
    one, another = await link(), await link()
    path = f"/connections/{one}/flows/{key}"
    begun = await ok(acme.get(path, params={"autoCreate": "true"}))
    assert await live(acme) == []
    await ok(acme.patch(path, json={"enabled": True}))
    assert await live(acme) == ["tick"]
    await ok(acme.patch(path, json={"name": "Mine"}))
    reset = await ok(acme.post(f"{path}/reset"))
    assert (reset["id"], reset["isCustomized"]) == (begun["id"], False)
    assert await live(acme) == ["tick"]
    made = await ok(acme.put(f"/connections/{another}/flows/{key}"))
    assert made["isCustomized"] is False
    assert await live(acme) == ["tick", "tick"]


async def test_each_instance_of_a_connection_has_its_own(platform, manager, acme, crm, link, shown):
    """Further instances of one flow at one connection are live by themselves."""
    key = await make(manager, path=f"/integrations/{crm}/flows", autoCreateInstances=True)
    one = await link()
    at = {"flowKey": key, "connectionId": str(one), "instanceKey": "second"}
    before = await shown(acme)
    assert [each.get("instanceKey") for each in before] == [None]
    assert await shown(acme, connectionId=str(one)) == before
    times = {"nodes": {"tick": {"config": {"intervalMinutes": 5}}}}
    await ok(acme.patch("/flow-instance", params=at, json={"enabled": True, **times}))

    found = {each.get("instanceKey"): each for each in await shown(acme)}

    assert found.keys() == {None, "second"}
    assert found[None]["id"] == before[0]["id"]
    assert found["second"]["config"] == {"intervalMinutes": 5}
    schedules = (await ok(acme.get("/schedules")))["items"]
    assert {each.get("instanceKey"): each["intervalMinutes"] for each in schedules} == {
        None: 60,
        "second": 5,
    }
    ran = await ok(acme.post(f"/schedules/{found['second']['id']}/run"))
    (run,) = await platform.rows("SELECT request FROM runs WHERE id = %s", ran["runId"])
    assert run["request"]["instanceKey"] == "second"


async def test_a_connection_that_is_of_no_use_starts_nothing(
    platform, manager, acme, crm, link, shown
):
    """It is archived, disconnected, or its integration is; and each is undone."""
    await make(manager, path=f"/integrations/{crm}/flows", autoCreateInstances=True)
    connection = await link()

    async def reason():
        (only,) = await shown(acme)
        return only.get("reason")

    assert await reason() is None
    for off, on, expected in (
        (
            "UPDATE connections SET state = 'CLIENT_ACTION_REQUIRED' WHERE id = %s",
            "UPDATE connections SET state = 'READY' WHERE id = %s",
            "The connection is disconnected.",
        ),
        (
            "UPDATE connections SET archived_at = now() WHERE id = %s",
            "UPDATE connections SET archived_at = NULL WHERE id = %s",
            "The connection is archived.",
        ),
        (
            "UPDATE elements SET archived_at = now() WHERE id = %s",
            "UPDATE elements SET archived_at = NULL WHERE id = %s",
            "The integration is archived.",
        ),
    ):
        which = crm if "elements" in off else connection
        async with platform.owner() as owner:
            await owner.execute(off, (which,))
            assert await reason() == expected
            await owner.execute(on, (which,))
            assert await reason() is None


async def test_archiving_a_tenant_silences_it_and_restoring_undoes_that(
    manager, acme, globex, live, shown
):
    """The neighbour goes on."""
    key = await make(manager, autoCreateInstances=True)
    assert await live(acme) == await live(globex) == ["tick"]
    await ok(manager.delete("/customers/acme"))
    assert await live(manager, tenantKey="acme") == []
    assert await live(globex) == ["tick"]
    (silent,) = await shown(manager, tenantKey="acme", flowKey=key)
    assert silent["reason"] == "The tenant is archived."
    await ok(manager.post("/customers/acme/restore"))
    assert await live(manager, tenantKey="acme") == ["tick"]


async def test_archiving_a_flow_or_a_node_ends_its_triggers(acme, live, shown):
    """A tenant's own flow is live as it stands, and what is taken out of it is not."""
    nodes = {**HOURLY, "call": {"type": "api-trigger"}, "tock": HOURLY["tick"]}
    key = await make(acme, nodes)
    assert await live(acme) == ["tick", "tock"]
    await ok(acme.patch(f"/flows/{key}", json={"nodes": {"tock": None}}))
    assert await live(acme) == ["tick"]
    await ok(acme.delete(f"/flows/{key}"))
    assert await live(acme) == []
    assert all("archived" in each["reason"] for each in await shown(acme))
    await ok(acme.post(f"/flows/{key}/restore"))
    assert await live(acme) == ["tick"]


async def test_the_catalogue_starts_nothing_by_itself(platform, acme, live):
    """Whatever it says of creating instances, somebody has to take it up."""
    key = f"universal-{uuid.uuid4().hex[:8]}"
    spec = {"nodes": HOURLY, "autoCreateInstances": True}
    made = await seeds.insert(
        platform, "elements", kind="flow", layer="universe", key=key, spec=spec
    )
    try:
        assert await live(acme) == []
        await ok(acme.patch(f"/flows/{key}", json={"name": "Mine"}))
        assert await live(acme) == ["tick"]
    finally:
        async with platform.owner() as owner:
            await owner.execute("DELETE FROM elements WHERE id = %s", (made,))


async def test_many_tenants_are_seen_to_a_piece_at_a_time(
    platform, workspace, manager, live, database, redis, monkeypatch
):
    """A change for all does not keep one tenant's own change waiting, and leaves nobody out."""
    monkeypatch.setattr(triggers, "_TENANTS", 7)
    others = [f"t-{number}" for number in range(30)]
    async with platform.owner() as owner:
        for key in others:
            await owner.execute(
                "INSERT INTO tenants (id, workspace_id, key, name) VALUES"
                " (gen_random_uuid(), %s, %s, %s)",
                (workspace.id, key, key),
            )
    await make(manager, autoCreateInstances=True)
    await asyncio.gather(*(reconcile_triggers(database, redis) for _ in range(3)))
    assert len(await live(manager)) == len(others)
    left = await platform.rows(
        "SELECT id FROM trigger_changes WHERE workspace_id = %s", workspace.id
    )
    assert left == []


async def test_many_changes_of_one_flow_are_one_look(
    platform, workspace, manager, acme, live, monkeypatch
):
    """Whoever changes a flow of all tenants again and again has them seen to once."""
    await live(acme)
    key = await make(manager, autoCreateInstances=True)
    for number in range(5):
        await ok(manager.patch(f"/flows/{key}", json={"name": f"Number {number}"}))
    looks = []

    async def counted(*args):
        looks.append(args[1:])
        return await reconcile(*args)

    monkeypatch.setattr(triggers, "reconcile", counted)
    assert await live(acme) == ["tick"]
    assert [look for look in looks if look[0] == workspace.id and look[2] == key] == looks[:1]
    assert len(looks) == 1


async def test_what_somebody_left_is_taken_up(platform, workspace, manager, acme, live):
    """A note whose taker died is anybody's once its time is over."""
    await make(manager, autoCreateInstances=True)
    await ok(acme.get("/self"))
    await platform.rows(
        "UPDATE trigger_changes SET taken_until = now() + interval '1 hour'"
        " WHERE workspace_id = %s RETURNING id",
        workspace.id,
    )
    assert await live(acme) == []
    await platform.rows(
        "UPDATE trigger_changes SET taken_until = now() WHERE workspace_id = %s RETURNING id",
        workspace.id,
    )
    assert await live(acme) == ["tick"]


async def test_a_change_is_in_force_soon(platform, manager, acme, database, redis):
    """The scheduler is told, and needs nobody to ask."""
    listening = connect(platform.settings.required_redis_url(), patience=None)
    task = asyncio.create_task(reconcile_when_told(database, redis, listening))
    try:
        await make(acme)

        async def is_live():
            return (await ok(acme.get("/flow-triggers")))["items"]

        await eventually(is_live)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await listening.aclose()


async def test_others_triggers_are_not_there(manager, acme, globex, make_workspace, live):
    """A neighbour sees none of acme's, nor does another workspace's manager."""
    await make(acme)
    assert await live(acme) == ["tick"]
    assert await live(globex) == []
    assert await live(manager, tenantKey="acme") == ["tick"]
    assert await live(await (await make_workspace()).manager()) == []
    assert (await acme.get("/flow-triggers?connectionId=nonsense")).status_code == 400
