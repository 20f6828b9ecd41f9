"""Runs that failed for good: listed, looked at, driven again and put away."""

from __future__ import annotations

import pytest

from tests.samples import add_function


@pytest.fixture
async def ready(platform, workspace, worker, acme):
    """A workspace with an action that fails and one that does not."""
    await add_function(platform, workspace.id, "fail")
    await add_function(platform, workspace.id, "echo")
    return workspace


async def _fail(caller, given=None) -> str:
    answer = await caller.post("/actions/fail/run", json={"input": given})
    assert answer.status_code == 400
    return answer.json()["actionRunId"]


async def test_a_failed_run_is_a_dead_letter(ready, acme, globex, manager):
    """A tenant sees its own, a manager the workspace's; a run that went well is none."""
    dead = await _fail(acme, {"a": 1})
    await acme.post("/actions/echo/run", json={"input": 1})

    (mine,) = (await acme.get("/dead-letters")).json()["items"]
    assert (mine["id"], mine["deadReason"], mine["input"]) == (dead, "failed", {"a": 1})
    assert (await globex.get("/dead-letters")).json()["items"] == []
    assert [one["id"] for one in (await manager.get("/dead-letters")).json()["items"]] == [dead]
    assert (await acme.get(f"/dead-letters/{dead}")).json()["id"] == dead


async def test_one_is_driven_again(ready, acme, manager):
    """A new run of the same input takes its place; the old one stays failed and knows it."""
    dead = await _fail(acme, "again")
    mended = await manager.patch("/actions/fail", json={"config": {"function": "echo"}})
    assert mended.status_code == 200, mended.text

    answer = await acme.post(f"/dead-letters/{dead}/redrive")

    assert answer.status_code == 202
    run = (await acme.get(f"/runs/{answer.json()['runId']}?wait=10")).json()
    assert (run["status"], run["redriveOf"]) == ("completed", dead)
    assert run["output"]["given"] == "again"
    old = (await acme.get(f"/runs/{dead}")).json()
    assert (old["status"], old["redrivenAs"], old["deadReason"]) == ("failed", run["id"], None)
    assert (await acme.get("/dead-letters")).json()["items"] == []
    assert (await acme.post(f"/dead-letters/{dead}/redrive")).status_code == 404


async def test_many_are_driven_again(ready, acme, globex, manager):
    """A manager drives again what fits, of several tenants, as many at once as it says."""
    dead = {await _fail(who, number) for number in range(3) for who in (acme, globex)}

    first = (await manager.post("/dead-letters/redrive", json={"limit": 4})).json()
    second = (await manager.post("/dead-letters/redrive", json={"reason": "failed"})).json()

    assert (len(first["items"]), first["more"]) == (4, True)
    assert {one["id"] for one in first["items"] + second["items"]} >= dead
    for one in first["items"]:
        run = (await manager.get(f"/runs/{one['runId']}?wait=10")).json()
        assert (run["status"], run["redriveOf"]) == ("failed", one["id"])


async def test_they_are_put_away(ready, acme, globex):
    """What was put away is on the list no more; the runs stay on record."""
    mine = [await _fail(acme) for _ in range(3)]
    theirs = await _fail(globex)

    assert (await acme.delete(f"/dead-letters/{mine[0]}")).status_code == 204
    assert (await acme.delete(f"/dead-letters/{mine[0]}")).status_code == 404
    body = {"ids": [mine[1], theirs]}
    assert (await acme.post("/dead-letters/purge", json=body)).json()["purged"] == 1
    left = [one["id"] for one in (await acme.get("/dead-letters")).json()["items"]]
    assert left == [mine[2]]
    assert (await acme.get(f"/runs/{mine[0]}")).json()["status"] == "failed"
    assert len((await globex.get("/dead-letters")).json()["items"]) == 1


async def test_a_wrong_request_says_what_is_wrong(ready, acme):
    """Unknown fields and values of the wrong shape are named."""
    for body in ({"id": ["x"]}, {"ids": ["x"]}, {"limit": 0}):
        answer = await acme.post("/dead-letters/redrive", json=body)
        assert answer.status_code == 400
        assert next(iter(body)) in answer.text
