"""A pull goes on where its worker died, and nothing is said twice or falsely."""

from __future__ import annotations

import contextlib

import pytest

from runtime.db import Database
from tests.events.conftest import Events, Outside
from tests.samples import crm_workspace
from tests.waiting import eventually

_OUTSIDE = {"egress_allow": "127.0.0.0/8", "egress_http": "true"}


@pytest.fixture
async def events(platform, app, manager):
    """Flows that events start, with the scheduler's duties for them."""
    roles = ["scheduler", "worker"]
    async with Database(platform.settings, platform.root, roles, size=2) as database:
        yield Events(manager, database, app.state.services)


async def test_a_worker_that_dies_in_a_pull_is_followed_by_another(
    platform, workspace, acme, events, crm, processes, free_port
):
    """The look at everything is taken over at the page that was not on record yet."""
    await crm_workspace(platform, workspace, crm)
    first = await processes.start("worker", role="worker", port=free_port(), **_OUTSIDE)
    async with contextlib.AsyncExitStack() as stack:
        outside = Outside(crm, stack)
        account, _ = await outside.connect(acme)
        await outside.admin(account, "POST", "deals", count=15_000)
        source = {"dataSource": {"collectionKey": "deals"}}
        trigger = {"type": "data-record-deleted-trigger", "config": source}
        flow = await events.flow(trigger, "/integrations/crm")
        (subscription,) = await events.subscriptions(acme, status="subscribed")
        await events.pull(acme, subscription)
        gone = [f"{account.name}-deal-{number}" for number in (5, 9000, 15_020)]
        for deal in gone:
            await outside.call(account, "DELETE", f"/api/deals/{deal}")

        path = f"/external-event-subscriptions/{subscription['id']}/pull-events"
        pull = (await acme.post(path)).json()
        await eventually(lambda: _steps(platform, pull), seconds=30)
        processes.kill(first)
        steps = await _steps(platform, pull)
        assert 0 < steps < 140, steps
        await processes.start("worker", role="worker", port=free_port(), **_OUTSIDE)

        ended = await events.ended(acme, pull)
        assert (ended["status"], ended["records"], ended["events"]) == ("success", 15_022, 3)
        (run,) = await platform.rows("SELECT attempt FROM runs WHERE id = %s", ended["runId"])
        assert run["attempt"] == 2
        runs = await events.runs(acme, flow, 3)
        assert sorted(each["input"]["record"]["id"] for each in runs) == sorted(gone)


async def _steps(platform, pull):
    """Return after how many pages a pull is, once it has begun."""
    (row,) = await platform.rows(
        "SELECT coalesce((progress->>'steps')::int, 0) AS steps FROM external_pulls WHERE id = %s",
        pull["id"],
    )
    return row["steps"]
