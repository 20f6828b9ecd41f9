"""Looking at a connected app for what changed: what is new, or everything."""

from __future__ import annotations

import asyncio

import pytest

from scheduler.events import give_up_lost, pull_due
from tests.waiting import eventually

AT = "/integrations/crm"
SOURCE = {"dataSource": {"collectionKey": "deals"}}


def trigger(what, **config):
    """Return the trigger of a flow that hears of records."""
    return {"type": f"data-record-{what}-trigger", "config": {**SOURCE, **config}}


async def watched(events, tenant, *whats, **config):
    """Make a flow for each kind of change; return flows and subscriptions, looked at once."""
    flows = {what: await events.flow(trigger(what, **config), AT) for what in whats}

    async def all_there():
        await events.settle()
        items = (await tenant.get("/external-event-subscriptions")).json()["items"]
        done = [each for each in items if each["status"] == "subscribed"]
        return items if len(done) == len(whats) else None

    items = await eventually(all_there, seconds=20)
    subscriptions = {each["config"]["type"].removeprefix("data-record-"): each for each in items}
    for each in subscriptions.values():
        pull = await events.pull(tenant, each)
        assert (pull["status"], pull["isFullScan"], pull["events"]) == ("success", True, 0), pull
    return flows, subscriptions


async def test_changes_become_events(events, outside, acme, globex):
    """What was there before is no event; what is created, changed and deleted after it is one."""
    account, connection = await outside.connect(acme)
    flows, subscriptions = await watched(events, acme, "created", "updated", "deleted")
    assert [subscriptions[what]["requiresPull"] for what in flows] == [True, True, False]
    assert [subscriptions[what]["requiresFullSync"] for what in flows] == [False, False, True]
    new = await outside.call(account, "POST", "/api/deals", title="New", amount=7)
    changed = f"{account.name}-deal-3"
    await outside.call(account, "PATCH", f"/api/deals/{changed}", stage="lost", amount=1)
    gone = f"{account.name}-deal-4"
    await outside.call(account, "DELETE", f"/api/deals/{gone}")

    pulls = {what: await events.pull(acme, each) for what, each in subscriptions.items()}

    assert [pulls[what]["isFullScan"] for what in flows] == [False, False, True]
    assert [pulls[what]["events"] for what in flows] == [1, 1, 1], pulls
    expected = {"created": new["id"], "updated": changed, "deleted": gone}
    for what, flow in flows.items():
        (run,) = await events.runs(acme, flow, 1)
        assert run["input"]["record"]["id"] == expected[what]
        assert run["launchedBy"]["type"] == "data-source-trigger"
        assert run["launchedBy"]["ids"] == pulls[what]["collectedEventIds"]
        assert run["connectionId"] == connection["id"]
    (run,) = await events.runs(acme, flows["created"], 1)
    assert run["input"]["record"]["fields"]["amount"] == 7
    for each in subscriptions.values():  # the same again is nothing new
        assert (await events.pull(acme, each))["events"] == 0
    assert (await globex.get("/external-event-pulls")).json()["items"] == []
    pull = pulls["created"]["id"]
    assert (await globex.get(f"/external-event-pulls/{pull}")).status_code == 404
    path = f"/external-event-subscriptions/{subscriptions['created']['id']}/pull-events"
    assert (await globex.post(path)).status_code == 404


async def test_a_flow_gets_records_as_it_maps_them(events, outside, acme, manager):
    """The field mapping of the trigger is applied, then its filter."""
    account, _ = await outside.connect(acme)
    mapping = {"importValue": {"label": {"$var": "$.fields.title"}}}
    answer = await manager.post("/field-mappings", json={"key": "labels", **mapping})
    assert answer.status_code == 201, answer.text
    condition = {"$eval": {"$var": "$.input.record.fields.label"}, "is": "Right"}
    flows, subscriptions = await watched(
        events, acme, "created", fieldMapping={"key": "labels"}, filter=condition
    )
    for title in ("Wrong", "Right", "Left"):
        await outside.call(account, "POST", "/api/deals", title=title)

    pull = await events.pull(acme, subscriptions["created"])

    assert pull["events"] == 3
    (run,) = await events.runs(acme, flows["created"], 1)
    assert run["input"]["record"]["fields"] == {"label": "Right"}


async def test_thousands_of_records(events, outside, acme):
    """A look at everything goes page by page, and finds the few that changed among many."""
    account, _ = await outside.connect(acme)
    await outside.admin(account, "POST", "deals", count=3000)
    flows, subscriptions = await watched(events, acme, "deleted")
    for number in (30, 1000, 3025):
        await outside.call(account, "DELETE", f"/api/deals/{account.name}-deal-{number}")
    await outside.admin(account, "POST", "deals", count=5)

    pull = await events.pull(acme, subscriptions["deleted"])

    assert (pull["records"], pull["events"]) == (3027, 3)
    runs = await events.runs(acme, flows["deleted"], 3)
    gone = {run["input"]["record"]["id"].rpartition("-")[2] for run in runs}
    assert gone == {"30", "1000", "3025"}


@pytest.mark.parametrize("when", ["first", "later"])
async def test_a_look_that_fails_says_nothing_was_deleted(events, outside, acme, when):
    """Half a look is none: nothing counts as gone, and the next whole one tells the truth."""
    account, _ = await outside.connect(acme)
    await outside.admin(account, "POST", "deals", count=300)
    flows, subscriptions = await watched(events, acme, "deleted")
    await outside.call(account, "DELETE", f"/api/deals/{account.name}-deal-7")
    allowed = 0 if when == "first" else 2
    await outside.admin(account, "POST", "throttle", requests=allowed, seconds=86_000)

    failed = await events.pull(acme, subscriptions["deleted"])

    assert (failed["status"], failed["events"]) == ("error", 0)
    assert failed["records"] == 100 * allowed
    assert failed["error"]["key"] == "rate_limit_exceeded"
    shown = await acme.get(f"/external-event-subscriptions/{subscriptions['deleted']['id']}")
    assert shown.json()["error"]["key"] == "rate_limit_exceeded"
    await outside.admin(account, "DELETE", "throttle")
    whole = await events.pull(acme, subscriptions["deleted"])
    assert (whole["status"], whole["events"]) == ("success", 1)
    (run,) = await events.runs(acme, flows["deleted"], 1)
    assert run["input"]["record"]["id"].endswith("-deal-7")


async def test_a_record_that_the_list_left_out_is_asked_for(events, outside, acme, platform):
    """A list may shift while it is read; what the app still has by its id was not deleted."""
    account, _ = await outside.connect(acme)
    flows, subscriptions = await watched(events, acme, "deleted")
    subscription = subscriptions["deleted"]["id"]
    async with platform.owner() as owner:  # as if both had been on a page that was skipped
        await owner.execute(
            "UPDATE event_records SET record_id = 'never-was' WHERE subscription_id = %s"
            " AND record_id = %s",
            (subscription, f"{account.name}-deal-2"),
        )
        await owner.execute(
            "INSERT INTO event_records (subscription_id, record_id, workspace_id, tenant_id,"
            " hash, scan) SELECT id, %s, workspace_id, tenant_id, '', 0"
            " FROM external_subscriptions WHERE id = %s",
            (f"{account.name}-contact-1", subscription),
        )

    pull = await events.pull(acme, subscriptions["deleted"])

    assert pull["events"] == 2  # neither is a deal that the app has
    runs = await events.runs(acme, flows["deleted"], 2)
    assert {run["input"]["record"]["id"] for run in runs} == {
        "never-was",
        f"{account.name}-contact-1",
    }


async def test_the_clock_pulls_one_at_a_time(events, outside, acme, platform):
    """What is due is pulled once, however many schedulers look, and one a connection."""
    account, connection = await outside.connect(acme)
    flows, subscriptions = await watched(events, acme, "created", "updated")
    await outside.call(account, "POST", "/api/deals", title="Due")
    ids = [each["id"] for each in subscriptions.values()]

    async def due():
        async with platform.owner() as owner:
            await owner.execute(
                "UPDATE external_subscriptions SET next_pull_at = now() - interval '1 second'"
                " WHERE id = ANY(%s)",
                (ids,),
            )

    await due()
    await asyncio.gather(*(pull_due(events.database, events.dispatch) for _ in range(2)))
    assert await _pulls(platform, connection) == 3  # two were the first looks

    async def both() -> bool:
        await pull_due(events.database, events.dispatch)
        rows = await platform.rows(
            "SELECT next_pull_at > now() AS later, pull_interval FROM external_subscriptions"
            " WHERE id = ANY(%s)",
            ids,
        )
        assert {row["pull_interval"] for row in rows} == {300}
        return all(row["later"] for row in rows)

    await eventually(both)
    assert len(await events.runs(acme, flows["created"], 1)) == 1


async def test_intervals_are_the_data_sources_own(events, outside, acme, manager, platform):
    """A data source says how often; never more often than the deployment allows."""
    await outside.connect(acme)
    source = {
        "key": "my-deals",
        "collectionKey": "deals",
        "pullUpdatesIntervalSeconds": 120,
        "fullSyncIntervalSeconds": 60,
    }
    assert (await manager.post("/data-sources", json=source)).status_code == 201
    _, subscriptions = await watched(
        events, acme, "created", "deleted", dataSource={"key": "my-deals"}
    )
    rows = await platform.rows(
        "SELECT pull_interval, full_sync_interval FROM external_subscriptions WHERE id = ANY(%s)"
        " ORDER BY 1 NULLS LAST",
        [each["id"] for each in subscriptions.values()],
    )
    assert rows == [
        {"pull_interval": 120, "full_sync_interval": None},
        {"pull_interval": None, "full_sync_interval": 600},
    ]


async def test_archived_connections_are_not_pulled(events, outside, acme, platform, manager):
    """What was archived is left alone; after the restore what changed meanwhile is told."""
    account, connection = await outside.connect(acme)
    flows, subscriptions = await watched(events, acme, "created")
    subscription = subscriptions["created"]
    assert (await manager.delete(f"/connections/{connection['id']}")).status_code == 200
    await events.settle()
    await outside.call(account, "POST", "/api/deals", title="Meanwhile")
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE external_subscriptions SET next_pull_at = now() - interval '1 second'"
            " WHERE id = %s",
            (subscription["id"],),
        )
    await pull_due(events.database, events.dispatch)
    assert await _pulls(platform, connection) == 1
    path = f"/external-event-subscriptions/{subscription['id']}/pull-events"
    answer = await acme.post(path)
    assert answer.status_code == 400
    assert answer.json()["data"]["isDeactivated"]

    assert (await manager.post(f"/connections/{connection['id']}/restore")).status_code == 200
    await events.settle()
    await pull_due(events.database, events.dispatch)
    assert await _pulls(platform, connection) == 2
    (run,) = await events.runs(acme, flows["created"], 1)
    assert run["input"]["record"]["fields"]["title"] == "Meanwhile"


async def _pulls(platform, connection):
    """Return how many pulls of a connection there have been."""
    (row,) = await platform.rows(
        "SELECT count(*) FROM external_pulls WHERE connection_id = %s", connection["id"]
    )
    return row["count"]


async def test_what_nobody_sees_to_is_given_up(events, outside, acme, platform):
    """A pull whose run was stopped does not keep the next one out for ever."""
    await outside.connect(acme)
    _, subscriptions = await watched(events, acme, "created")
    pull = await events.pull(acme, subscriptions["created"])
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE external_pulls SET status = 'running' WHERE id = %s", (pull["id"],)
        )
    path = f"/external-event-subscriptions/{subscriptions['created']['id']}/pull-events"
    answer = await acme.post(path)
    assert (answer.status_code, answer.json()["type"]) == (409, "concurrency")

    assert await give_up_lost(events.database) >= 1

    shown = (await acme.get(f"/external-event-pulls/{pull['id']}")).json()
    assert shown["status"] == "error"
    assert (await events.pull(acme, subscriptions["created"]))["status"] == "success"
