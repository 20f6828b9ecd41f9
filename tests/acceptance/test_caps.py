"""Caps at work: no more runs at once than allowed, whoever else goes on, and changes live.

How many runs were under way at once is read from when they started and ended on record.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runtime.caps.store import caps_version
from runtime.changes import Changes
from runtime.db import Database, role_url
from runtime.dispatch import QUEUES
from runtime.lanes.client import Lanes, connect
from runtime.lanes.control import cap_version
from scheduler.caps import sync_caps_when_told
from tests.api.asking import ok
from tests.samples import add_function, crm_workspace
from tests.waiting import eventually

#: Seconds of a run that lasts until the test has seen enough, and of one that overlaps others.
_LONG, _SHORT = 60, 0.1


class Office:
    """A workspace in which tenants run functions over connections to the sample app."""

    def __init__(self, platform, workspace, manager, in_force):
        self._platform, self.workspace = platform, workspace
        self._manager, self._in_force = manager, in_force

    async def cap(self, amount, scope, **named):
        """Put a cap in place and wait, for a second at most, until it is in force."""
        body = {"scope": scope, "amount": amount, **named}
        made = await ok(self._manager.put("/caps", json=body))
        await eventually(self._in_force, seconds=1)
        return made

    async def connect(self, tenant, *keys):
        """Connect a tenant to the sample app under each of these keys."""
        for key in keys:
            body = {
                "integrationKey": "crm",
                "key": key,
                "name": key,
                "credentials": {"apiKey": "crm-acme-key"},
            }
            await ok(tenant.post("/connections", json=body), 201)

    async def start(self, tenant, action="sleep", *, seconds=_SHORT, over=None):
        """Submit a run and return its id."""
        query = {"async": "true"} | ({"connectionKey": over} if over else {})
        asked = tenant.post(
            f"/actions/{action}/run", params=query, json={"input": {"seconds": seconds}}
        )
        return (await ok(asked, 202))["id"]

    async def start_many(self, count, tenant, action="sleep", **options):
        """Submit several runs and return their ids."""
        return [await self.start(tenant, action, **options) for _ in range(count)]

    async def count(self, runs, status):
        """Return how many of the runs have a status."""
        (row,) = await self._platform.rows(
            "SELECT count(*) AS n FROM runs WHERE id = ANY(%s::uuid[]) AND status = %s",
            list(runs),
            status,
        )
        return row["n"]

    async def reach(self, runs, status, count=None, seconds=10.0):
        """Wait until so many of the runs, or all of them, have a status."""
        wanted = len(runs) if count is None else count

        async def reached():
            return await self.count(runs, status) >= wanted

        await eventually(reached, seconds=seconds)

    async def most_at_once(self, runs):
        """Return how many of the runs, which have all ended, were under way at once."""
        (row,) = await self._platform.rows(
            "WITH mine AS (SELECT started_at, finished_at FROM runs WHERE id = ANY(%s::uuid[]))"
            " SELECT max((SELECT count(*) FROM mine AS o WHERE o.started_at <= m.started_at"
            " AND o.finished_at > m.started_at)) AS most FROM mine AS m",
            list(runs),
        )
        return row["most"]

    async def stop(self, tenant, runs):
        """End runs that would last longer than the test."""
        await asyncio.gather(*(ok(tenant.post(f"/runs/{run}/stop")) for run in runs))


@pytest.fixture
async def in_force(platform):
    """A scheduler that brings caps to the lanes; tells whether all of them are there."""
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(platform.settings, platform.root, ["scheduler"], size=2)
        )
        redis = connect(platform.redis_url)
        stack.push_async_callback(redis.aclose)
        changes = Changes(role_url(platform.settings, platform.root, "scheduler"))
        tasks = [
            asyncio.create_task(sync_caps_when_told(database, redis, changes)),
            asyncio.create_task(changes.listen()),
        ]

        async def end():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        stack.push_async_callback(end)

        async def ask():
            async with database.unscoped("scheduler") as connection:
                version = await caps_version(connection)
            return await Lanes(redis, QUEUES[0]).run(cap_version()) == version

        yield ask


@pytest.fixture
async def office(platform, workspace, worker, crm, manager, in_force):
    """A workspace with the actions `sleep` and `echo`."""
    await crm_workspace(platform, workspace, crm)
    await add_function(platform, workspace.id, "sleep", safeToRepeat=True)
    await add_function(platform, workspace.id, "echo")
    return Office(platform, workspace, manager, in_force)


@pytest.fixture
async def bystander(platform, make_workspace, worker):
    """A tenant of another workspace, which no cap of this one concerns."""
    other = await make_workspace()
    await add_function(platform, other.id, "echo")
    return await other.tenant("acme")


async def test_a_connections_runs_go_one_at_a_time(office, acme):
    """Under a cap of one for each connection, two connections have one run each under way."""
    await office.connect(acme, "main", "other")
    await office.cap(1, "connection")

    main = await office.start_many(5, acme, over="main")
    other = await office.start_many(5, acme, over="other")
    await office.reach(main + other, "completed")

    assert await office.most_at_once(main) == 1
    assert await office.most_at_once(other) == 1
    assert await office.most_at_once(main + other) == 2


async def test_a_held_connection_holds_nothing_else(office, manager, acme):
    """Runs over other connections, or none, go on; a raised cap lets more in within a second."""
    await office.connect(acme, "main", "other")
    made = await office.cap(1, "connection", connectionKey="main")
    first = await office.start(acme, seconds=_LONG, over="main")
    await office.reach([first], "running")

    held = await office.start_many(3, acme, seconds=_LONG, over="main")
    free = [await office.start(acme, "echo", over="other"), await office.start(acme, "echo")]
    await office.reach(free, "completed", seconds=5)
    assert await office.count(held, "queued") == 3

    await ok(manager.patch(f"/caps/{made['id']}", json={"amount": 2}))
    await office.reach(held, "running", 1, seconds=1)
    assert await office.count(held, "queued") == 2
    await ok(manager.delete(f"/caps/{made['id']}"))
    await office.reach(held, "running", seconds=1)
    await office.stop(acme, [first, *held])


async def test_a_workspaces_cap_counts_all_its_tenants(office, acme, globex):
    """Two at once, whoever they are of; another workspace is another matter."""
    await office.cap(2, "workspace")

    runs = await office.start_many(4, acme) + await office.start_many(4, globex)
    await office.reach(runs, "completed")

    assert await office.most_at_once(runs) == 2


async def test_a_tenant_may_be_excepted_from_the_default(office, acme, globex):
    """One run at a time for each tenant; acme may have any number, and then three."""
    await ok(acme.get("/self"))
    await office.cap(1, "tenant")
    await office.cap(None, "tenant", tenantKey="acme")

    many = await office.start_many(6, acme, seconds=_LONG)
    single = await office.start_many(4, globex)
    await office.reach(many, "running")
    await office.reach(single, "completed")
    assert await office.most_at_once(single) == 1
    await office.stop(acme, many)

    await office.cap(3, "tenant", tenantKey="acme")
    three = await office.start_many(7, acme)
    await office.reach(three, "completed")
    assert await office.most_at_once(three) == 3


async def test_an_elements_cap_counts_that_element_over_all_tenants(office, acme, globex):
    """One at a time of `sleep`, whoever runs it, and any number of the rest."""
    await office.cap(1, "element", actionKey="sleep")
    first = await office.start(acme, seconds=_LONG)
    await office.reach([first], "running")

    held = await office.start(globex, seconds=_SHORT)
    free = await office.start_many(3, globex, "echo")
    await office.reach(free, "completed", seconds=5)
    assert await office.count([held], "queued") == 1

    await office.stop(acme, [first])
    await office.reach([held], "completed", seconds=5)


async def test_a_cap_of_none_pauses(office, bystander, acme):
    """Nothing of the workspace starts under a cap of 0; what waited goes when it is lifted."""
    await office.cap(0, "workspace")
    runs = await office.start_many(3, acme, "echo")

    await ok(bystander.post("/actions/echo/run", json={"input": 1}))
    assert await office.count(runs, "queued") == 3

    await office.cap(None, "workspace")
    await office.reach(runs, "completed", seconds=1)


async def test_a_cap_counts_runs_of_all_queues(office, bystander, acme):
    """A run that somebody waits for and one that nobody waits for count together."""
    await office.cap(1, "workspace")
    first = await office.start(acme, seconds=_LONG)
    await office.reach([first], "running")

    waited_for = asyncio.create_task(acme.post("/actions/echo/run", json={"input": 1}))

    async def is_there():
        return len((await ok(acme.get("/runs")))["items"]) == 2

    await eventually(is_there)
    await ok(bystander.post("/actions/echo/run", json={"input": 1}))
    assert not waited_for.done()

    await office.stop(acme, [first])
    assert (await ok(waited_for))["output"]["given"] == 1
