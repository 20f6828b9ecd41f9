"""Runs that fail for a while: tried again, parked, given up, and kept as dead letters."""

from __future__ import annotations

import uuid

import pytest

from tests.samples import add_element, add_function, crm_workspace
from tests.waiting import eventually

QUICK = {"initialDelay": 0.05, "maxDelay": 0.2}


class Shop:
    """A workspace in which acme is connected to the sample app."""

    def __init__(self, platform, workspace, acme):
        self.platform, self.workspace, self.acme = platform, workspace, acme

    async def action(self, path, *, method="GET", query=None, **spec):
        """Add an action that calls the app."""
        key = f"call-{uuid.uuid4().hex[:8]}"
        request = {"path": path, "method": method, "query": {"of": key, **(query or {})}}
        whole = {
            "type": "api-request-to-external-app",
            "config": {"request": request},
            **spec,
        }
        await add_element(self.platform, self.workspace.id, "action", key, whole, app="crm")
        return key

    async def start(self, key, given=None):
        """Submit a run without waiting; return its id."""
        answer = await self.acme.post(f"/actions/{key}/run?async=true", json={"input": given})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def run(self, run_id):
        """Return a run as the API shows it."""
        return (await self.acme.get(f"/runs/{run_id}")).json()

    async def ended(self, run_id):
        """Return a run once it has ended."""
        return (await self.acme.get(f"/runs/{run_id}?wait=20")).json()

    async def records(self, run_id):
        """Return the statuses of its activity records."""
        rows = await self.platform.rows(
            "SELECT status FROM activity_records WHERE run_id = %s", run_id
        )
        return [row["status"] for row in rows]


@pytest.fixture
async def shop(platform, workspace, worker, crm, acme):
    """The shop."""
    await crm_workspace(platform, workspace, crm)
    made = await acme.post(
        "/connections", json={"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    )
    assert made.status_code == 201, made.text
    return Shop(platform, workspace, acme)


async def test_a_failure_that_passes_is_tried_again(shop):
    """Two answers of 503 and one of 200 are one completed run of three attempts, on record once."""
    key = await shop.action(
        "/faults/recovering/503", query={"times": 2}, retry={"maxAttempts": 5, **QUICK}
    )

    run = await shop.ended(await shop.start(key))

    assert (run["status"], run["attempt"], run["parks"]) == ("completed", 3, 0)
    assert await shop.records(run["id"]) == ["completed"]


async def test_the_last_attempt_is_the_end(shop):
    """A run that fails each time ends as failed after its attempts, and is a dead letter."""
    key = await shop.action("/faults/status/500", retry={"maxAttempts": 3, **QUICK})

    run = await shop.ended(await shop.start(key))

    assert (run["status"], run["attempt"]) == ("failed", 3)
    assert run["deadReason"] == "attempts_exhausted"
    assert run["error"]["data"]["response"]["status"] == 500
    assert await shop.records(run["id"]) == ["failed"]


@pytest.mark.parametrize("path", ["/faults/status/404", "/faults/redirect?to=http://10.0.0.1/"])
async def test_what_cannot_succeed_is_not_tried_again(shop, path):
    """A refusal that another attempt would meet again is final at once."""
    path, _, to = path.partition("?to=")
    query = {"to": to} if to else None
    key = await shop.action(path, query=query, retry={"maxAttempts": 5, **QUICK})

    run = await shop.ended(await shop.start(key))

    assert (run["status"], run["attempt"], run["deadReason"]) == ("failed", 1, "failed")


async def test_what_may_not_happen_twice_is_not_tried_again(shop):
    """After a call whose effect is unknown nothing is sent again, whatever the policy says."""
    key = await shop.action(
        "/faults/recovering/500", method="POST", retry={"maxAttempts": 5, **QUICK}
    )

    run = await shop.ended(await shop.start(key))

    assert (run["status"], run["attempt"]) == ("failed", 1)


async def test_a_policy_names_the_errors(shop):
    """Only the errors that the action names are tried again."""
    retry = {"maxAttempts": 5, **QUICK, "on": ["503"]}
    named = await shop.action("/faults/recovering/503", retry=retry)
    other = await shop.action("/faults/recovering/500", retry=retry)

    assert (await shop.ended(await shop.start(named)))["status"] == "completed"
    assert (await shop.ended(await shop.start(other)))["attempt"] == 1


async def test_a_function_that_raises_is_tried_again_if_it_is_safe(shop):
    """A function is tried again only where its action says that this is safe."""
    policy = {"retry": {"maxAttempts": 3, **QUICK}}
    await add_function(shop.platform, shop.workspace.id, "fail", **policy, safeToRepeat=True)
    run = await shop.ended(await shop.start("fail", "x"))
    assert run["attempt"] == 3
    assert "secret:" not in str(run)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_app_that_asks_to_wait_parks_the_run(shop, method):
    """A 429 is no attempt and no effect: the run waits as long as it was asked to, and succeeds."""
    key = await shop.action(
        "/faults/recovering/429", method=method, query={"times": 2, "retry_after": "1"}
    )
    run_id = await shop.start(key)

    async def parked():
        run = await shop.run(run_id)
        return run if run["parks"] else None

    waiting = await eventually(parked)
    assert (waiting["status"], waiting["attempt"]) == ("queued", 0)
    assert waiting["waiting"]["reason"] == "rate_limited"
    assert waiting["dueAt"] > waiting["createdAt"]
    run = await shop.ended(run_id)
    assert (run["status"], run["attempt"], run["parks"]) == ("completed", 1, 2)


async def test_parking_has_an_end(shop):
    """An app that asks for longer than the action allows, or too often, ends the run."""
    long = await shop.action("/faults/rate-limit", query={"retry_after": "99999"})
    often = await shop.action(
        "/faults/rate-limit", query={"retry_after": "0"}, retry={"maxParks": 2, **QUICK}
    )
    for key, parks in ((long, 0), (often, 2)):
        run = await shop.ended(await shop.start(key))
        assert (run["status"], run["parks"]) == ("failed", parks)
        assert run["error"]["key"] == "rate_limit_exceeded"


async def test_a_run_that_waits_can_be_stopped(shop):
    """Stopping a parked run ends it at once, and nothing is sent later."""
    key = await shop.action("/faults/recovering/429", query={"retry_after": "30"})
    run_id = await shop.start(key)

    async def parked():
        return (await shop.run(run_id))["parks"]

    await eventually(parked)
    stopped = (await shop.acme.post(f"/runs/{run_id}/stop")).json()
    assert stopped["status"] == "stopped"
    assert await shop.records(run_id) == ["stopped"]


async def test_a_wrong_policy_is_refused_where_it_stands(shop, manager):
    """A policy that makes no sense is refused with the place of the fault."""
    spec = {
        "key": "bad",
        "type": "run-python",
        "config": {"function": "echo"},
        "retry": {"maxAttempts": 0},
    }
    answer = await manager.post("/actions", json=spec)
    assert answer.status_code == 400
    assert "maxAttempts" in answer.text
