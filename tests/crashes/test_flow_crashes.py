"""A flow whose workers are killed at moments drawn by lot goes on from its last checkpoint."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.samples import add_function
from tests.waiting import eventually

_ROWS, _COLUMNS = 6, 5


def _nodes():
    """Return a for-each inside another, what comes after both, and a flow as a node."""
    nap = {"type": "run-action", "config": {"action": {"key": "nap"}, "input": {"seconds": 0.15}}}
    return {
        "start": {"type": "api-trigger", "links": [{"key": "rows"}]},
        "rows": {
            "type": "for-each-v2",
            "concurrency": 2,
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "row"},
            "links": [{"key": "inner"}],
        },
        "row": {
            "type": "for-each-v2",
            "concurrency": 2,
            "config": {"items": {"$var": "$.item"}, "rootNodeKey": "cell"},
        },
        "cell": {**nap, "links": [{"key": "done"}]},
        "done": {
            "type": "transform-data",
            "config": {"output": {"$var": "$.nodes.cell.input"}},
        },
        "inner": {
            "type": "run-flow",
            "config": {"flowKey": "naps-inside", "input": {"$var": "$.input"}},
        },
    }


async def _checkpoints(platform, run):
    rows = await platform.rows(
        "SELECT id, node_key, finished_at, outputs FROM node_runs"
        " WHERE run_id = %s AND status = 'completed'",
        run,
    )
    return {row["id"]: row for row in rows}


@pytest.mark.timeout(300)  # four workers are started, one after the other
async def test_a_flow_survives_its_workers(platform, workspace, acme, processes, free_port):
    """Killed again and again, it ends once and right, and no result on record was made again."""
    chosen = random.Random()
    await add_function(
        platform, workspace.id, "nap", config={"function": "sleep"}, safeToRepeat=True
    )
    manager = await workspace.manager()
    inside = {
        "start": {"type": "api-trigger", "links": [{"key": "a"}]},
        "a": {
            "type": "run-action",
            "config": {"action": {"key": "nap"}, "input": {"seconds": 0.5}},
            "links": [{"key": "b"}],
        },
        "b": {"type": "transform-data", "config": {"output": {"$var": "$.trigger"}}},
    }
    for key, nodes in {"naps-inside": inside, "naps": _nodes()}.items():
        made = await manager.post("/flows", json={"key": key, "nodes": nodes})
        assert made.status_code == 201, made.text
    given = [[f"{row}-{column}" for column in range(_COLUMNS)] for row in range(_ROWS)]
    run = (await acme.post("/flows/naps/run", json={"input": given})).json()["id"]
    kept = {}
    for _ in range(3):
        worker = await processes.start("worker", role="worker", port=free_port())
        before = len(kept)

        async def is_further(before=before):
            return len(await _checkpoints(platform, run)) > before

        await eventually(is_further, seconds=30)
        await asyncio.sleep(chosen.uniform(0, 0.6))  # the moment is what is drawn by lot
        processes.kill(worker)
        now = await _checkpoints(platform, run)
        assert all(now[each] == row for each, row in kept.items())
        kept = now
    await processes.start("worker", role="worker", port=free_port())

    async def ended():
        (row,) = await platform.rows("SELECT * FROM runs WHERE id = %s", run)
        return row if row["finished_at"] is not None else None

    row = await eventually(ended, seconds=60)
    assert row["status"] == "completed", row["error"]
    assert row["output"] == given
    last = await _checkpoints(platform, run)
    assert all(last[each] == row for each, row in kept.items())
    cells = [each for each in last.values() if each["node_key"] == "cell"]
    assert len(cells) == _ROWS * _COLUMNS
    records = await platform.rows("SELECT tag FROM activity_records WHERE run_id = %s", run)
    assert records == [{"tag": "flow:run:completed"}]
    children = await platform.rows(
        "SELECT status FROM runs WHERE request->>'parentRunId' = %s", run
    )
    assert children == [{"status": "completed"}]
