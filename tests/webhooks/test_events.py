"""Which events there are, when they are written, and what is in them."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import ok
from tests.api.seeds import run, tenant_id
from tests.samples import add_element, crm_workspace
from tests.waiting import eventually

ECHO = {"name": "Echo", "type": "run-python", "config": {"function": "echo"}}


@pytest.fixture
def events(platform, workspace):
    """Returns the events that were written for the workspace, oldest first."""

    async def written(endpoint=None):
        return await platform.rows(
            "SELECT event, data, tenant_id FROM webhook_deliveries WHERE workspace_id = %s"
            " AND (%s::uuid IS NULL OR endpoint_id = %s) ORDER BY id",
            *(workspace.id, endpoint and endpoint["id"], endpoint and endpoint["id"]),
        )

    return written


async def test_an_action_run_is_told_of(platform, workspace, acme, worker, endpoint, events):
    """Once, with who ran what and what came of it."""
    await add_element(platform, workspace.id, "action", "echo", ECHO)
    done = await ok(acme.post("/actions/echo/run", json={"input": {"a": 1}, "meta": {"x": "y"}}))
    assert done["output"]
    (told,) = await events()
    assert told["event"] == "actionRun.completed"
    shown = told["data"]["actionRun"]
    assert shown["status"] == "completed"
    assert shown["actionKey"] == "echo"
    assert shown["tenantKey"] == "acme"
    assert shown["input"] == {"a": 1}
    assert shown["meta"] == {"x": "y"}
    assert shown["error"] is None
    assert shown["finishedAt"] > shown["createdAt"]


async def test_what_is_large_or_secret_is_left_out(
    platform, workspace, acme, worker, endpoint, events
):
    """An event is bounded, and a schema's secrets are not in it."""
    schema = {"type": "object", "properties": {"pin": {"type": "string", "isSensitive": True}}}
    await add_element(platform, workspace.id, "action", "echo", {**ECHO, "inputSchema": schema})
    await ok(acme.post("/actions/echo/run", json={"input": {"pin": "canary-4711"}}))
    await ok(acme.post("/actions/echo/run", json={"input": {"text": "y" * 20_000}}))
    first, second = await events()
    assert "canary-4711" not in str(first["data"]["actionRun"]["input"])
    assert second["data"]["actionRun"]["input"] == {"truncated": True}
    assert len(str(second["data"])) < 3000


async def test_an_endpoint_gets_what_it_asked_for(
    platform, workspace, manager, acme, worker, receiver, events
):
    """By name and by kind; what is switched off or another workspace's gets nothing."""
    made = {}
    for name, wanted, enabled in (
        ("failed", ["actionRun.failed"], True),
        ("runs", ["actionRun.*"], True),
        ("other", ["connection.*", "flowRun.failed"], True),
        ("off", ["*"], False),
    ):
        body = {"url": f"{receiver.url}/{name}", "events": wanted, "isEnabled": enabled}
        made[name] = await ok(manager.post("/webhook-endpoints", json=body), 201)
    await add_element(platform, workspace.id, "action", "echo", ECHO)
    failing = {**ECHO, "config": {"function": "fail"}}
    await add_element(platform, workspace.id, "action", "fails", failing)
    await ok(acme.post("/actions/echo/run", json={}))
    await acme.post("/actions/fails/run", json={})
    got = {name: [row["event"] for row in await events(each)] for name, each in made.items()}
    assert got == {
        "failed": ["actionRun.failed"],
        "runs": ["actionRun.completed", "actionRun.failed"],
        "other": [],
        "off": [],
    }


async def test_a_run_that_is_stopped_in_its_queue(platform, workspace, acme, endpoint, events):
    """It is told of by whoever stopped it."""
    run_id = str(await run(platform, workspace, await tenant_id(acme)))
    await ok(acme.post(f"/runs/{run_id}/stop"))
    told = await eventually(events)
    assert [row["event"] for row in told] == ["actionRun.stopped"]
    assert told[0]["data"]["actionRun"]["id"] == run_id


async def test_a_flow_run_is_told_of_from_beginning_to_end(
    platform, workspace, acme, worker, endpoint, events
):
    """Queued, started, completed; its nodes are not."""
    flow = {
        "nodes": {
            "start": {"type": "api-trigger", "links": [{"key": "sum"}]},
            "sum": {"type": "transform-data", "config": {"output": {"n": 1}}},
        }
    }
    await add_element(platform, workspace.id, "flow", "sync", flow)
    flow_run = await ok(acme.post("/flows/sync/run", json={"input": {}}))

    async def ended():
        told = await events()
        return told if len(told) >= 3 else None

    told = await eventually(ended)
    assert [row["event"] for row in told] == [
        "flowRun.queued",
        "flowRun.started",
        "flowRun.completed",
    ]
    assert {row["data"]["flowRun"]["id"] for row in told} == {flow_run["id"]}
    assert told[-1]["data"]["flowRun"]["state"] == "completed"
    assert told[-1]["data"]["flowRun"]["flowKey"] == "sync"


async def test_connections_are_told_of(  # noqa: PLR0917 - fixtures
    platform, workspace, crm, acme, manager, worker, endpoint, events
):
    """When they work first, when they are archived, restored, or refused by their app."""
    await crm_workspace(platform, workspace, crm)
    made = await ok(
        acme.post(
            "/connections",
            json={
                "integrationKey": "crm",
                "key": "mine",
                "credentials": {"apiKey": "crm-acme-key"},
            },
        ),
        201,
    )
    connection = f"/connections/{made['id']}"
    await ok(acme.delete(connection))
    await ok(acme.post(f"{connection}/restore"))
    tenant = await ok(acme.get("/self"))
    await ok(manager.delete(f"/customers/{tenant['id']}"))
    await ok(manager.post(f"/customers/{tenant['id']}/restore"))
    told = [row for row in await events() if row["event"].startswith("connection.")]
    assert [row["event"].partition(".")[2] for row in told] == [
        "created",
        "deleted",
        "reconnected",
        "disconnected",
        "reconnected",
    ]
    shown = told[0]["data"]["connection"]
    assert (shown["id"], shown["key"], shown["integrationKey"]) == (made["id"], "mine", "crm")
    assert shown["tenantKey"] == "acme"
    assert "crm-acme-key" not in str(told)


async def test_a_connection_that_does_not_work_is_not_told_of(
    platform, workspace, crm, acme, worker, endpoint, events
):
    """One whose first test fails is not kept; nobody hears that it was created."""
    await crm_workspace(platform, workspace, crm)
    body = {"integrationKey": "crm", "credentials": {"apiKey": "wrong"}}
    answer = await acme.post("/connections", json=body)
    assert answer.status_code >= 400
    names = [row["event"] for row in await events()]
    assert "connection.created" not in names


async def test_no_event_without_its_fact(platform, workspace, acme, worker, endpoint, events):
    """Of many runs at once each is told of exactly once."""
    await add_element(platform, workspace.id, "action", "echo", ECHO)
    await asyncio.gather(*(ok(acme.post("/actions/echo/run", json={})) for _ in range(40)))
    told = await events()
    assert len(told) == 40
    assert len({row["data"]["actionRun"]["id"] for row in told}) == 40


async def test_a_run_ends_as_it_should_while_its_endpoint_is_deleted(
    platform, workspace, acme, worker, endpoint, events
):
    """Who ends it has seen the endpoint and finds it gone; that is no fault of the run's."""
    await add_element(platform, workspace.id, "action", "echo", ECHO)
    async with platform.owner() as owner:
        await owner.execute("BEGIN")
        await owner.execute(
            "UPDATE webhook_endpoints SET is_enabled = false, is_main = false,"
            " deleted_at = now() WHERE id = %s",
            (endpoint["id"],),
        )
        await ok(acme.post("/actions/echo/run", json={}))
        await owner.execute("COMMIT")
    await ok(acme.post("/actions/echo/run", json={}))
    assert [row["event"] for row in await events()] == ["actionRun.completed"]
