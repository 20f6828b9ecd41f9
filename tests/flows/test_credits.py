"""A flow uses its tenant's credits as it goes, and no more than there are."""

from __future__ import annotations

from tests.flows.test_running import START
from tests.samples import add_function


async def test_a_flow_reserves_as_it_goes(flows, platform, workspace, manager):
    """Two of three items fit the limit; the third ends the flow, which pays for what it did."""
    config = {"function": "echo"}
    await add_function(platform, workspace.id, "paid", config=config, safeToRepeat=True)
    limit = {"resource": "action-runs", "scope": "tenant", "window": "1h", "limit": 2}
    made = await manager.post("/limits", json=limit)
    assert made.status_code in (200, 201), made.text
    nodes = {
        "start": START,
        "a": {
            "type": "for-each-v2",
            "concurrency": 1,
            "config": {"items": {"$var": "$.input"}, "rootNodeKey": "b"},
        },
        "b": {"type": "run-action", "config": {"action": {"key": "paid"}}},
    }
    run = await flows.start(nodes, [1, 2, 3])
    ended = await flows.ended(run, "failed")
    assert "limit" in str(ended["errors"][0]["data"]["cause"])
    states = [each["status"] for each in await flows.runs(run, "b")]
    assert states == ["completed", "completed", "failed"]
    used = await platform.rows("SELECT resource, amount FROM usage_records WHERE run_id = %s", run)
    assert {row["resource"]: int(row["amount"]) for row in used} == {
        "action-runs": 2,
        "flow-runs": 1,
    }
    held = await platform.rows(
        "SELECT total FROM credit_windows WHERE workspace_id = %s", workspace.id
    )
    assert [int(row["total"]) for row in held] == [2]
    assert not await platform.rows("SELECT FROM reservations WHERE workspace_id = %s", workspace.id)
