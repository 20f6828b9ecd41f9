"""One run for each event and live trigger, whatever happens in between."""

from __future__ import annotations

import uuid

import uuid_utils.compat

from runtime.events.launching import Launching, run_id_of
from runtime.moments import uuid_moment
from runtime.runs.states import Claim
from runtime.tenancy import Owner
from tests.events.test_app_events import make_type, path_of

TRIGGER = {"type": "app-event-trigger"}


async def test_an_event_starts_the_flows_that_wait_for_it(
    events, manager, acme, globex, anonymous, worker
):
    """Each live trigger whose filter holds starts one run, with the event as its input."""
    for tenant in (acme, globex):
        await tenant.get("/self")
    kind, other = await make_type(manager), await make_type(manager)
    big = {"$eval": {"$var": "$.input.amount"}, "gt": 5}
    by_key = await events.flow({**TRIGGER, "config": {"appEventKey": kind["key"]}})
    filtered = await events.flow(
        {**TRIGGER, "config": {"appEvent": {"key": kind["key"]}, "filter": big}}
    )
    deaf = await events.flow({**TRIGGER, "config": {"appEventKey": other["key"]}})
    disabled = await events.flow({**TRIGGER, "config": {"appEventKey": kind["key"]}}, enabled=False)

    posted = [{"customer": "acme", "amount": amount} for amount in (1, 10)]
    assert (await anonymous.post(path_of(kind), json=posted)).status_code == 200

    log = await events.logged(acme, "/app-events", 2)
    assert [len(each["launchedFlowRunIds"]) for each in log] == [1, 2]
    runs = await events.runs(acme, by_key, 2)
    assert sorted(run["input"]["amount"] for run in runs) == [1, 10]
    assert {run["state"] for run in runs} == {"completed"}
    (run,) = await events.runs(acme, filtered, 1)
    assert run["input"] == posted[1]
    assert run["launchedBy"] == {"type": "app-event-trigger", "ids": [log[1]["id"]]}
    assert run["id"] in log[1]["launchedFlowRunIds"]
    for key, tenant in ((deaf, acme), (disabled, acme), (by_key, globex)):
        assert await events.runs(tenant, key, 0) == []


async def test_a_flow_that_ends_its_wait_hears_nothing_more(events, manager, acme, worker):
    """An archived flow starts nothing, and a restored one hears again."""
    await acme.get("/self")
    kind = await make_type(manager)
    key = await events.flow({**TRIGGER, "config": {"appEventKey": kind["key"]}})
    told = {"type": kind["key"], "event": {"amount": 1}}
    for number, change in enumerate((manager.delete, None)):
        if change is not None:
            assert (await change(f"/flows/{key}")).status_code == 200
        else:
            assert (await manager.post(f"/flows/{key}/restore")).status_code == 200
        await events.settle()
        await acme.post("/app-events", json=told)
        log = await events.logged(acme, "/app-events", number + 1)
        assert len(log[-1]["launchedFlowRunIds"]) == number


async def test_two_that_launch_a_thousand_flows_start_none_twice(
    events, platform, workspace, acme, manager, app, worker
):
    """A superseded worker and its successor take turns, a bounded piece at a time."""
    tenant = uuid.UUID((await acme.get("/self")).json()["id"])
    kind = await make_type(manager)
    triggers = [uuid.uuid4() for _ in range(1000)]
    async with platform.owner() as owner:
        await owner.execute(
            "INSERT INTO flow_triggers (id, workspace_id, tenant_id, flow_id, flow_key, node_key,"
            " type, config, revision, is_live) SELECT t, %s, %s, t, 'flow', 'start',"
            " 'app-event-trigger', %s::json, '1', true FROM unnest(%s::uuid[]) AS t",
            (workspace.id, tenant, f'{{"appEventKey": "{kind["key"]}"}}', triggers),
        )
    told = {"type": kind["key"], "events": [{"amount": 1}, {"amount": 2}]}
    await acme.post("/app-events", json=told)
    (run,) = await platform.rows(
        "SELECT id FROM runs WHERE tenant_id = %s AND kind = 'event-launch'", tenant
    )
    claim = _claim(run["id"], Owner(workspace.id, tenant))
    dispatch = app.state.services.submission.dispatch

    while await Launching(events.database, dispatch, claim, {}).step():
        pass  # beside the worker, which does the same

    log = await events.logged(acme, "/app-events", 2)
    assert [len(each["launchedFlowRunIds"]) for each in log] == [1000, 1000]
    (row,) = await platform.rows(
        "SELECT count(*), count(DISTINCT run_id) AS apart,"
        " (SELECT count(*) FROM runs WHERE tenant_id = %s AND kind = 'flow') AS runs"
        " FROM event_launches WHERE tenant_id = %s",
        tenant,
        tenant,
    )
    assert row == {"count": 2000, "apart": 2000, "runs": 2000}


def test_a_runs_id_follows_from_event_and_trigger():
    """It is a UUIDv7 of the event's time, so the run's partition is known from it."""
    event, trigger = uuid_utils.compat.uuid7(), uuid.uuid4()
    made = run_id_of(event, trigger)
    assert made == run_id_of(event, trigger)
    assert made != run_id_of(event, uuid.uuid4())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert uuid_moment(made) == uuid_moment(event)


def _claim(run_id, owner):
    names = Claim.__dataclass_fields__
    blank = dict.fromkeys(names)
    return Claim(**{**blank, "run_id": run_id, "owner": owner, "kind": "event-launch"})
