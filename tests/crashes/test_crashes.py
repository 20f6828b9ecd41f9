"""Nothing that was accepted is lost when something is killed, and nothing ends twice."""

from __future__ import annotations

from functools import partial

import redis

from tests.samples import add_function
from tests.waiting import eventually


async def _run_row(platform, run_id):
    (row,) = await platform.rows("SELECT * FROM runs WHERE id = %s", run_id)
    return row


async def _terminal_records(platform, run_id):
    return await platform.rows("SELECT tag FROM activity_records WHERE run_id = %s", run_id)


async def _started(platform, caller, key, seconds):
    answer = await caller.post(
        f"/actions/{key}/run?async=true", json={"input": {"seconds": seconds}}
    )
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["id"]

    async def running():
        row = await _run_row(platform, run_id)
        return row["status"] == "running" and (row["called_at"] or key == "safe")

    await eventually(running)
    return run_id


async def test_a_run_whose_worker_is_killed_is_finished_by_another(
    platform, workspace, acme, processes, free_port
):
    """A repeatable run is taken over when the dead worker's lease ends, and ends once."""
    await add_function(
        platform, workspace.id, "safe", config={"function": "sleep"}, safeToRepeat=True
    )
    first = await processes.start("worker", role="worker", port=free_port())
    run_id = await _started(platform, acme, "safe", 1.5)

    processes.kill(first)
    await processes.start("worker", role="worker", port=free_port())

    row = await eventually(
        lambda: _ended(platform, run_id),
        seconds=20,
    )
    assert (row["status"], row["output"], row["attempt"]) == ("completed", "slept", 2)
    assert await _terminal_records(platform, run_id) == [{"tag": "action:run:completed"}]


async def test_a_call_whose_outcome_is_unknown_is_not_made_again(
    platform, workspace, acme, processes, free_port
):
    """A run that is not repeatable and had called out ends as failed, and says why."""
    await add_function(platform, workspace.id, "unsafe", config={"function": "sleep"})
    first = await processes.start("worker", role="worker", port=free_port())
    run_id = await _started(platform, acme, "unsafe", 60)

    processes.kill(first)
    await processes.start("worker", role="worker", port=free_port())

    row = await eventually(lambda: _ended(platform, run_id), seconds=40)
    assert row["status"] == "failed"
    assert row["error"]["data"]["outcome"] == "unknown"
    assert await _terminal_records(platform, run_id) == [{"tag": "action:run:failed"}]


async def test_runs_survive_the_loss_of_redis(platform, workspace, acme, processes, free_port):
    """After Redis is emptied, the scheduler sends queued runs again, and each ends once."""
    await add_function(platform, workspace.id, "echo")
    run_ids = []
    for number in range(20):
        answer = await acme.post("/actions/echo/run?async=true", json={"input": number})
        run_ids.append(answer.json()["id"])
    with redis.Redis.from_url(platform.redis_url) as client:
        client.flushdb()
    async with platform.owner() as owner:  # as if they had been sent some time ago
        await owner.execute("UPDATE runs SET sent_at = now() - interval '1 hour'")

    await processes.start("worker", role="worker", port=free_port())
    await processes.start("scheduler", role="scheduler", port=free_port())

    for run_id in run_ids:
        row = await eventually(partial(_ended, platform, run_id), seconds=30)
        assert row["status"] == "completed"
        assert len(await _terminal_records(platform, run_id)) == 1


async def test_a_stopping_worker_hands_its_run_back(
    platform, workspace, acme, processes, free_port
):
    """SIGTERM gives a run the grace; what takes longer goes to another worker, uncounted."""
    await add_function(
        platform, workspace.id, "safe", config={"function": "sleep"}, safeToRepeat=True
    )
    first = await processes.start("worker", role="worker", port=free_port())
    run_id = await _started(platform, acme, "safe", 15)
    await processes.start("worker", role="worker", port=free_port())

    first.terminate()

    async def moved():
        row = await _run_row(platform, run_id)
        return first.poll() is not None and row["status"] == "running"

    await eventually(moved, seconds=20)
    row = await eventually(lambda: _ended(platform, run_id), seconds=40)
    assert (row["status"], row["attempt"]) == ("completed", 1)


async def _ended(platform, run_id):
    row = await _run_row(platform, run_id)
    return row if row["finished_at"] is not None else None


async def test_a_flow_goes_on_from_its_last_checkpoint(
    platform, workspace, acme, processes, free_port
):
    """When a flow's worker is killed another goes on, and no node that had ended runs again."""
    sleeping = {"function": "sleep", "input": {"seconds": {"$var": "$.input.seconds"}}}
    await add_function(platform, workspace.id, "nap", config=sleeping, safeToRepeat=True)
    nap = {"type": "run-action", "config": {"action": {"key": "nap"}}}
    given = {"seconds": {"$var": "$.trigger.last"}}
    nodes = {
        "start": {"type": "api-trigger", "links": [{"key": "first"}]},
        "first": {**nap, "links": [{"key": "between"}]},
        "between": {
            "type": "transform-data",
            "config": {"output": given},
            "links": [{"key": "last"}],
        },
        "last": nap,
    }
    manager = await workspace.manager()
    made = await manager.post("/flows", json={"key": "naps", "nodes": nodes})
    assert made.status_code in (200, 201), made.text
    first = await processes.start("worker", role="worker", port=free_port())
    answer = await acme.post("/flows/naps/run", json={"input": {"seconds": 0.1, "last": 1.5}})
    run_id = answer.json()["id"]

    async def kept():
        rows = await platform.rows("SELECT * FROM node_runs WHERE run_id = %s", run_id)
        by_key = {row["node_key"]: row for row in rows}
        return by_key if "between" in by_key else None

    before = await eventually(kept)
    processes.kill(first)
    await processes.start("worker", role="worker", port=free_port())
    row = await eventually(lambda: _ended(platform, run_id), seconds=20)
    assert (row["status"], row["output"], row["attempt"]) == ("completed", "slept", 2)
    after = await kept()
    for key in ("start", "first", "between"):
        assert after[key]["finished_at"] == before[key]["finished_at"]
    assert await _terminal_records(platform, run_id) == [{"tag": "flow:run:completed"}]


async def test_an_unrepeatable_node_is_not_run_twice(
    platform, workspace, acme, processes, free_port
):
    """A node that had called out when its worker died fails, and says that nobody knows."""
    await add_function(platform, workspace.id, "once", config={"function": "sleep"})
    nodes = {
        "start": {"type": "api-trigger", "links": [{"key": "once"}]},
        "once": {"type": "run-action", "config": {"action": {"key": "once"}}},
    }
    manager = await workspace.manager()
    made = await manager.post("/flows", json={"key": "once-only", "nodes": nodes})
    assert made.status_code in (200, 201), made.text
    first = await processes.start("worker", role="worker", port=free_port())
    answer = await acme.post("/flows/once-only/run", json={"input": {"seconds": 60}})
    run_id = answer.json()["id"]
    await eventually(
        lambda: platform.rows(
            "SELECT id FROM node_runs WHERE run_id = %s AND called_at IS NOT NULL", run_id
        )
    )
    processes.kill(first)
    await processes.start("worker", role="worker", port=free_port())
    row = await eventually(lambda: _ended(platform, run_id), seconds=40)
    assert row["status"] == "failed"
    assert row["error"]["data"]["cause"]["data"]["outcome"] == "unknown"
