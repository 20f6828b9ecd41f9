"""Handles, waiting, and runs that are stopped: at once, once, and with one record."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import uuid_utils.compat

from runtime.clock import monotonic
from runtime.dispatch import Outgoing
from runtime.tenancy import Owner
from tests.bad_input.conftest import check_envelope
from tests.waiting import eventually


@pytest.fixture
async def sleeper(shop):
    """An action that sleeps for as long as it is told."""
    return await shop.function("sleep")


async def _start(shop, action, given, caller=None) -> str:
    answer = await (caller or shop.acme).post(
        f"/actions/{action}/run?async=true", json={"input": given}
    )
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert answer.headers["location"] == f"/runs/{body['id']}"
    assert body["actionRunId"] == body["id"]
    assert body["status"] in {"queued", "running"}
    return body["id"]


async def _queued(shop, link, element_id=None, *, sent=False) -> str:
    """Write a run over a connection as it was accepted, with or without its message."""
    run_id, tenant_id = uuid_utils.compat.uuid7(), uuid.UUID(link["tenantId"])
    await shop.platform.rows(
        "INSERT INTO runs (id, workspace_id, tenant_id, kind, queue, status, element_id,"
        " element_key, integration_id, connection_id, sent_at, attempt, stop_requested, request,"
        " input) VALUES (%s, %s, %s, 'action', 'default', 'queued', %s, 'list-deals', %s, %s,"
        " now(), 0, false, '{}', '{}') RETURNING id",
        *(run_id, shop.workspace.id, tenant_id, element_id),
        *(link["integrationId"], link["id"]),
    )
    if sent:
        services = shop.acme._transport.app.state.services
        outgoing = Outgoing(run_id, Owner(shop.workspace.id, tenant_id), "action", "default")
        await services.submission.dispatch.send([outgoing])
    return str(run_id)


async def _running(shop, run_id) -> None:
    async def is_running():
        return (await shop.row(run_id))["status"] == "running"

    await eventually(is_running)


async def test_a_handle_leads_to_the_result(shop, sleeper):
    """A run that was not waited for can be waited for later, for as long as one likes."""
    run_id = await _start(shop, sleeper, {"seconds": 0.3})
    early = (await shop.acme.get(f"/runs/{run_id}?wait=0.05")).json()
    assert early["status"] in {"queued", "running"}
    assert early["finishedAt"] is None
    began = monotonic()
    late = (await shop.acme.get(f"/runs/{run_id}?wait=30")).json()
    assert late["status"] == "completed"
    assert monotonic() - began < 5
    assert late["output"] == "slept"


@pytest.mark.parametrize(
    "headers", [{"Prefer": "respond-async"}, {"Prefer": "wait=1, Respond-Async"}]
)
async def test_a_handle_by_preference(shop, sleeper, headers):
    """The header of RFC 7240 asks for a handle as the query does."""
    answer = await shop.acme.post(
        f"/actions/{sleeper}/run", json={"input": {"seconds": 0}}, headers=headers
    )
    assert answer.status_code == 202
    await shop.acme.get(answer.headers["location"] + "?wait=10")


async def test_a_queued_run_stops_at_once(shop):
    """A run that nobody has begun ends as stopped, with one record, and stays so."""
    (link,) = (await shop.acme.get("/connections")).json()["items"]
    run_id = await _queued(shop, link)
    for _ in range(2):
        body = (await shop.acme.post(f"/runs/{run_id}/stop")).json()
        assert body["status"] == "stopped"
        assert body["error"]["key"] == "stopped"
    await shop.assert_on_record(run_id, "stopped", body["error"])


@pytest.mark.parametrize("what", ["sleep", "/faults/hang"])
async def test_a_running_run_stops_within_a_second(shop, next_door, what):
    """A run that is under way is really stopped: a function as well as a call to an app."""
    action = await (shop.function(what) if what == "sleep" else shop.request(what, seconds=60))
    run_id = await _start(shop, action, {"seconds": 60})
    await _running(shop, run_id)
    began = monotonic()
    body = (await shop.acme.post(f"/runs/{run_id}/stop")).json()
    assert body["status"] == "stopped"
    assert monotonic() - began < 1
    await shop.assert_on_record(run_id, "stopped", body["error"])


async def test_a_caller_who_waits_learns_of_the_stop(shop, sleeper):
    """Somebody who waits for a run's result gets the error of the stop."""
    waiting = asyncio.create_task(shop.run(sleeper, {"seconds": 60}, Idempotency_Key="waits"))

    async def begun():
        return await shop.platform.rows(
            "SELECT id::text FROM runs WHERE element_key = %s AND status = 'running'", sleeper
        )

    (row,) = await eventually(begun)
    await shop.acme.post(f"/runs/{row['id']}/stop")
    body = check_envelope(await waiting, 409, "action_run", "stopped")
    assert body["actionRunId"] == row["id"]


async def test_a_run_that_has_ended_stays_as_it_ended(shop, sleeper):
    """Stopping what has ended changes nothing and adds no record."""
    run_id = await _start(shop, sleeper, {"seconds": 0})
    await shop.acme.get(f"/runs/{run_id}?wait=10")
    assert (await shop.acme.post(f"/runs/{run_id}/stop")).json()["status"] == "completed"
    (record,) = await shop.records(run_id)
    assert record["status"] == "completed"


async def test_stops_at_random_moments(shop, sleeper):
    """Whenever a stop comes, the run ends once: as completed or as stopped, never both."""
    runs = [await _start(shop, sleeper, {"seconds": 0.01}) for _ in range(60)]

    async def stop(run_id, after):
        await asyncio.sleep(after)
        return await shop.acme.post(f"/runs/{run_id}/stop")

    await asyncio.gather(*(stop(run_id, n * 0.002) for n, run_id in enumerate(runs)))
    for run_id in runs:
        ended = (await shop.acme.get(f"/runs/{run_id}?wait=10")).json()
        assert ended["status"] in {"completed", "stopped"}
        (record,) = await shop.records(run_id)
        assert record["status"] == ended["status"]


async def test_what_is_archived_does_not_run(shop, platform):
    """Queued runs of an archived connection, action or tenant end as stopped when they are met."""
    tenant = await shop.workspace.tenant(f"leaver-{uuid.uuid4().hex[:6]}")
    account = await shop.crm.account("leaver")
    link = await tenant.post(
        "/connections", json={"integrationKey": "crm", "credentials": {"apiKey": account.api_key}}
    )
    before = len(await shop.crm.hits(account))
    action = await shop.request("/faults/echo")
    (element,) = await platform.rows("SELECT id FROM elements WHERE key = %s", action)
    archived = {
        "connections": link.json()["id"],
        "elements": element["id"],
        "tenants": link.json()["tenantId"],
    }
    told = set()
    for table, row_id in archived.items():
        change = "UPDATE {} SET archived_at = {} WHERE id = %s RETURNING id"
        await platform.rows(change.format(table, "now()"), row_id)
        run_id = await _queued(shop, link.json(), element["id"], sent=True)
        row = await eventually(lambda run_id=run_id: _ended(shop, run_id))
        assert row["status"] == "stopped"
        await shop.assert_on_record(run_id, "stopped", row["error"])
        told.add(row["error"]["message"])
        await platform.rows(change.format(table, "NULL"), row_id)
    assert len(told) == 3
    assert len(await shop.crm.hits(account)) == before


async def _ended(shop, run_id):
    row = await shop.row(run_id)
    return row if row["finished_at"] else None
