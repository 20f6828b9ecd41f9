"""A worker that lost its claim on a flow run stops, and writes nothing more of it."""

from __future__ import annotations

from uuid import UUID

from tests.flows.test_running import START, step
from tests.samples import add_function
from tests.waiting import eventually


async def test_a_superseded_worker_writes_no_checkpoint(flows, worker, platform, workspace):
    """When a run's lease is another's, the branches end without a result on record."""
    await add_function(
        platform, workspace.id, "nap", config={"function": "sleep"}, safeToRepeat=True
    )
    nap = {"action": {"key": "nap"}, "input": {"seconds": 0.5}}
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "b"},
            "links": [{"key": "c"}],
        },
        "b": {"type": "run-action", "config": nap},
        "c": step("done"),
    }
    run = await flows.start(nodes, [1, 2, 3])
    await eventually(lambda: flows.runs(run, "start"))
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE runs SET lease_token = gen_random_uuid(),"
            " lease_until = now() + interval '1 hour' WHERE id = %s",
            (run,),
        )
    held = worker.execution._holder._held
    await eventually(lambda: UUID(run) not in held)
    assert [await flows.runs(run, key) for key in ("a", "b", "c")] == [[], [], []]
    assert (await flows.get(run))["state"] == "running"
