"""Limits at work: runs through the API and a worker, up to the limit and past it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from runtime.clock import monotonic
from tests.api.asking import ok, refused
from tests.samples import add_element, add_function
from tests.waiting import eventually


def runs_limit(limit):
    """Return the body of a limit on a tenant's runs in an hour."""
    return {"resource": "action-runs", "scope": "tenant", "window": "1h", "limit": limit}


async def test_a_run_past_its_limit_is_told_when_to_come_back(
    platform, workspace, manager, acme, globex, worker
):
    """429 with Retry-After and RateLimit headers; the neighbour goes on; more limit, more runs."""
    await add_function(platform, workspace.id, "echo")
    limit = await ok(manager.post("/limits", json=runs_limit(limit=2)), 201)
    for _ in range(2):
        await ok(acme.post("/actions/echo/run", json={}))
    answer = await acme.post("/actions/echo/run", json={})
    error = await refused(_already(answer), 429, "rate_limit_exceeded")
    wait = int(answer.headers["retry-after"])
    assert 3590 <= wait <= 3611
    assert answer.headers["ratelimit-policy"] == '"action-runs";q=2;w=3600'
    assert answer.headers["ratelimit"] == f'"action-runs";r=0;t={wait}'
    assert error["data"]["limit"] == 2
    (standing,) = (await ok(acme.get("/usage")))["limits"]
    assert (standing["used"], standing["reserved"], standing["remaining"]) == (2, 0, 0)
    resets = datetime.fromisoformat(standing["resetsAt"])
    assert 3590 <= (resets - datetime.now(UTC)).total_seconds() <= 3611
    await ok(globex.post("/actions/echo/run", json={}))
    await ok(manager.patch(f"/limits/{limit['id']}", json={"limit": 3}))
    await _within_a_second(acme, 200)
    await _within_a_second(acme, 429)


async def test_a_limit_takes_effect_in_running_workers(platform, workspace, manager, acme, worker):
    """Within a second of its making a limit binds, and within a second of its end it does not."""
    await add_function(platform, workspace.id, "echo")
    await ok(acme.post("/actions/echo/run", json={}))
    limit = await ok(manager.post("/limits", json=runs_limit(limit=0)), 201)
    await _within_a_second(acme, 429)
    await ok(
        manager.put("/customers/acme/limits/action-runs", json={"window": "1h", "limit": None})
    )
    await _within_a_second(acme, 200)
    await ok(manager.delete(f"/limits/{limit['id']}"))
    await ok(acme.post("/actions/echo/run", json={}))


async def test_an_elements_limit_counts_that_element(platform, workspace, manager, acme, worker):
    """A limit on one action leaves the others alone, and credits are named as such."""
    costly = {"type": "run-python", "config": {"function": "echo"}, "cost": {"ai-credits": 4}}
    await add_element(platform, workspace.id, "action", "costly", costly)
    await add_element(platform, workspace.id, "action", "other", costly)
    body = {
        **runs_limit(limit=10),
        "resource": "ai-credits",
        "scope": "element",
        "actionKey": "costly",
    }
    await ok(manager.post("/limits", json=body), 201)
    for _ in range(2):
        await ok(acme.post("/actions/costly/run", json={}))
    answer = await acme.post("/actions/costly/run", json={})
    assert (answer.status_code, answer.json()["type"]) == (429, "insufficient_credit")
    assert answer.headers["ratelimit"].startswith('"ai-credits";r=2;t=')
    for _ in range(4):
        await ok(acme.post("/actions/other/run", json={}))
    (standing,) = (await ok(manager.get("/usage")))["limits"]
    assert (standing["used"], standing["remaining"]) == (8, 2)


async def test_thirty_two_runs_at_once_stay_within_the_limit(
    platform, workspace, manager, acme, worker
):
    """Of 32 runs at the same moment exactly as many run as the limit allows."""
    await add_function(platform, workspace.id, "echo")
    await ok(manager.post("/limits", json=runs_limit(limit=5)), 201)
    answers = await asyncio.gather(
        *(acme.post("/actions/echo/run", json={"input": number}) for number in range(32))
    )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (5, 27)


async def _already(answer):
    return answer


async def _within_a_second(client, status):
    deadline = monotonic() + 1
    while (await client.post("/actions/echo/run", json={})).status_code != status:
        assert monotonic() < deadline, f"no {status} within a second"


async def test_a_limit_that_parks_has_runs_wait_for_room(
    platform, workspace, manager, acme, globex, worker
):
    """Past a parking limit runs wait, say why, and all run in the end, never more than allowed."""
    await add_function(platform, workspace.id, "echo")
    limit = {**runs_limit(limit=1), "window": "3s", "whenReached": "park"}
    made = await ok(manager.post("/limits", json=limit), 201)
    assert made["whenReached"] == "park"
    ids = [
        (await ok(acme.post("/actions/echo/run?async=true", json={}), 202))["id"] for _ in range(2)
    ]
    waiting = await eventually(lambda: _put_off(acme, ids))
    why = await ok(acme.get(f"/runs/{waiting}/why"))
    assert why["nextChanceAt"], why
    await ok(globex.post("/actions/echo/run", json={}))
    ended = [await ok(acme.get(f"/runs/{run_id}?wait=20")) for run_id in ids]
    assert [run["status"] for run in ended] == ["completed"] * 2
    assert [run["attempt"] for run in ended] == [1, 1]
    first = min(datetime.fromisoformat(run["startedAt"]) for run in ended)
    finished = max(datetime.fromisoformat(run["finishedAt"]) for run in ended)
    assert (finished - first).total_seconds() >= 3


async def test_who_waits_for_the_answer_is_refused_all_the_same(
    platform, workspace, manager, acme, worker
):
    """Where room is an hour away, a synchronous run is refused at once; a limit can change."""
    await add_function(platform, workspace.id, "echo")
    limit = await ok(manager.post("/limits", json=runs_limit(limit=1)), 201)
    assert limit["whenReached"] == "refuse"
    changed = await ok(manager.patch(f"/limits/{limit['id']}", json={"whenReached": "park"}))
    assert (changed["whenReached"], changed["limit"]) == ("park", 1)
    await ok(acme.post("/actions/echo/run", json={}))
    answer = await acme.post("/actions/echo/run", json={})
    assert answer.status_code == 429, answer.text
    for wrong in ({}, {"whenReached": "queue"}):
        await refused(manager.patch(f"/limits/{limit['id']}", json=wrong), 400)


async def _put_off(acme, ids):
    """Return the id of the run that waits, if one does."""
    for run_id in ids:
        why = await ok(acme.get(f"/runs/{run_id}/why"))
        if "limit" in [reason["reason"] for reason in why["reasons"]]:
            return run_id
    return None
