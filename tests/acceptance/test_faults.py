"""What goes wrong with a run or its app: a clear error, the run on record, nobody else affected."""

from __future__ import annotations

import asyncio
import uuid

import httpx2
import pytest

from tests.samples import add_element, add_function, crm_workspace


@pytest.fixture
async def ready(platform, workspace, worker, crm, acme):
    """A workspace in which acme is connected to the sample app."""
    await crm_workspace(platform, workspace, crm)
    made = await acme.post(
        "/connections", json={"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    )
    assert made.status_code == 201, made.text
    return workspace


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/faults/hang", 504, "action_run"),
        ("/faults/status/500", 502, "connection"),
        ("/faults/big?bytes=100000000", 502, "connection"),
        ("/faults/gzip-bomb", 502, "connection"),
        ("/faults/html", 502, "connection"),
        ("/faults/broken-json", 502, "connection"),
        ("/faults/reset", 502, "connection"),
        ("/faults/redirect-loop", 502, "connection"),
        ("/faults/redirect?to=http://10.0.0.1/", 400, "connection"),
        ("/faults/rate-limit?retry_after=7", 429, "connection"),
    ],
)
async def test_a_broken_app_ends_the_run_with_its_own_error(
    platform, ready, acme, globex, path, status, kind
):
    """The error has the envelope and its status, and the run has one terminal record."""
    spec = {
        "type": "api-request-to-external-app",
        "timeout": 3,
        "config": {"request": {"path": path}},
    }
    await add_element(platform, ready.id, "action", "broken", spec, app="crm")
    await add_function(platform, ready.id, "echo")

    refused, beside = await asyncio.gather(
        acme.post("/actions/broken/run", json={"input": {}}),
        globex.post("/actions/echo/run", json={"input": 1}),
    )

    body = refused.json()
    assert (refused.status_code, body["type"]) == (status, kind), body
    assert body["message"]
    assert body["requestId"]
    records = await platform.rows(
        "SELECT status, error FROM activity_records WHERE run_id = %s", body["actionRunId"]
    )
    assert [record["status"] for record in records] == ["failed"]
    assert "crm-acme-key" not in str(records) + refused.text
    assert beside.status_code == 200


async def test_fifty_equal_requests_with_one_key_are_one_run(platform, ready, acme, globex, crm):
    """One run, one effect in the app and fifty equal answers; another body is refused."""
    spec = {
        "type": "api-request-to-external-app",
        "idempotency": {},
        "config": {
            "request": {
                "path": "/api/contacts",
                "method": "POST",
                "data": {
                    "name": {"$var": "$.input.name"},
                    "email": "ada@example.com",
                    "company": "Analytical Engines",
                },
            }
        },
    }
    await add_element(platform, ready.id, "action", "create-contact", spec, app="crm")
    headers = {"Idempotency-Key": f"key-{uuid.uuid4()}"}

    async def create(name):
        return await acme.post(
            "/actions/create-contact/run", json={"input": {"name": name}}, headers=headers
        )

    answers = await asyncio.gather(*(create("Ada") for _ in range(50)))
    other = await create("Grace")

    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert len({answer.text for answer in answers}) == 1
    assert other.status_code == 422
    assert other.json()["key"] == "idempotency_conflict"
    run_id = answers[0].json()["actionRunId"]
    async with httpx2.AsyncClient(trust_env=False) as client:
        calls = (await client.get(f"{crm}/_admin/calls")).json()["accounts"]["acme"]["byKey"]
    assert calls[run_id] == 1


async def test_a_running_run_stops_within_a_second(platform, ready, acme):
    """Stop ends a run wherever it waits, once, as stopped."""
    await add_function(platform, ready.id, "sleep", safeToRepeat=True)
    queued = await acme.post("/actions/sleep/run?async=true", json={"input": {"seconds": 60}})
    run = queued.json()["id"]
    for _ in range(200):
        if (await acme.get(f"/runs/{run}")).json()["status"] == "running":
            break
        await asyncio.sleep(0.02)

    async with asyncio.timeout(2):
        stopped = await acme.post(f"/runs/{run}/stop")

    assert stopped.json()["status"] == "stopped"
    records = await platform.rows("SELECT status FROM activity_records WHERE run_id = %s", run)
    assert records == [{"status": "stopped"}]


async def test_what_a_function_raises_stays_in_the_log(platform, ready, acme):
    """A function's exception is named by its type; its text may hold anything."""
    await add_function(platform, ready.id, "fail")

    ran = await acme.post("/actions/fail/run", json={"input": "canary-in-the-text"})

    assert ran.status_code == 400
    assert ran.json()["type"] == "custom_code"
    assert "ValueError" in ran.json()["message"]
    assert "secret:" not in ran.text
