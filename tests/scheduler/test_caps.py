"""The way of the caps from the table to the lanes, with the rights of the scheduler's login."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runtime.caps.names import UNCAPPED, cap_name
from runtime.dispatch import QUEUES
from runtime.lanes.client import Lanes, connect
from runtime.lanes.control import cap_version, set_caps
from scheduler import caps
from scheduler.caps import sync_caps, sync_caps_when_told
from tests.api import seeds
from tests.api.asking import ok
from tests.waiting import eventually


@pytest.fixture
def told(monkeypatch):
    """What the lanes were told last."""
    last = {}

    def noted(all_caps, version):
        last.clear()
        last.update(all_caps)
        return set_caps(all_caps, version)

    monkeypatch.setattr(caps, "set_caps", noted)
    return last


async def put(manager, **cap):
    """Put a cap in place and return it."""
    return await ok(manager.put("/caps", json={"amount": 1, **cap}))


async def test_the_lanes_are_told_each_change_once(database, redis, told, workspace, manager, acme):
    """Every running cap under its name, no cap on waiting runs, and nothing if nothing changed."""
    tenant = await seeds.tenant_id(acme)
    await put(manager, scope="workspace", amount=0)
    await put(manager, scope="tenant", amount=2)
    await put(manager, scope="tenant", tenantKey="acme", amount=None)
    await put(manager, scope="connection", amount=3)
    await put(manager, scope="element", amount=4)
    await put(manager, scope="tenant", state="queued", amount=99)

    assert await sync_caps(database, redis)
    ours = {name: amount for name, amount in told.items() if str(workspace.id) in name}
    assert ours == {
        f"workspace:{workspace.id}": 0,
        f"tenants@{workspace.id}": 2,
        f"tenant:{workspace.id}/{tenant}": UNCAPPED,
        f"connections@{workspace.id}": 3,
        f"elements@{workspace.id}": 4,
    }
    assert not await sync_caps(database, redis)


async def test_one_subjects_cap_goes_by_its_id(database, redis, told, platform, workspace, manager):
    """A deleted cap is told no more, so that the default is in force again."""
    app = await seeds.integration(platform, workspace)
    tenant = await seeds.tenant_id(await workspace.tenant("acme"))
    link = await seeds.connection(platform, workspace, tenant, integration_id=app, key="main")
    cap = await put(manager, scope="connection", connectionKey="main", amount=5)
    name = cap_name(workspace.id, "connection", tenant, link)
    await sync_caps(database, redis)
    assert told[name] == 5
    await ok(manager.delete(f"/caps/{cap['id']}"))
    assert await sync_caps(database, redis)
    assert name not in told


async def test_what_the_lanes_forgot_is_told_again(database, redis, manager):
    """Whoever emptied Redis, or wrote other caps there, the next look puts it right."""
    await put(manager, scope="workspace")
    await sync_caps(database, redis)
    lanes = Lanes(redis, QUEUES[0])
    right = await lanes.run(cap_version())
    await lanes.run(set_caps({}, "another"))
    assert await sync_caps(database, redis)
    assert await lanes.run(cap_version()) == right


async def test_any_queue_knows_the_version(database, redis, manager):
    """The caps are kept once for all queues."""
    await put(manager, scope="workspace")
    await sync_caps(database, redis)
    versions = {await Lanes(redis, queue).run(cap_version()) for queue in QUEUES}
    assert len(versions) == 1
    assert versions.pop()


async def test_a_change_is_told_within_a_second(
    database, redis, told, platform, workspace, manager
):
    """The API's word is heeded at once."""
    listening = connect(platform.settings.required_redis_url(), patience=None)
    task = asyncio.create_task(sync_caps_when_told(database, redis, listening))
    name = f"workspace:{workspace.id}"
    try:
        for amount in (1, 2):
            await put(manager, scope="workspace", amount=amount)
            await eventually(lambda amount=amount: told.get(name) == amount, seconds=1)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await listening.aclose()
