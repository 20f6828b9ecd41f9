"""What has run can run again: whole, from where it failed, or from any node."""

from __future__ import annotations

from tests.flows.test_running import START, step


def _fails_on_two() -> dict[str, object]:
    # A list index that is a text is no list: the for-each fails for that item only.
    return {
        "start": START,
        "a": step({"$var": "$.input"}, "b"),
        "b": {
            "type": "for-each-v2",
            "config": {"items": {"$var": "$.input.items"}, "rootNodeKey": "c"},
        },
        "c": step({"$var": "$.input"}),
    }


async def test_repeat(flows):
    """A repeated run is a new one with the same input; one that goes on is not repeated."""
    run = await flows.start({"start": START, "a": step({"$var": "$.input"})}, "same")
    await flows.ended(run)
    again = (await flows.tenant.post(f"/flow-runs/{run}/repeat")).json()
    assert again["id"] != run
    assert again["repeatOf"] == run
    await flows.ended(again["id"])
    assert len(await flows.runs(again["id"], "a")) == 1
    waits = await flows.start({"start": START, "a": {"type": "wait", "config": {"days": 1}}})
    assert (await flows.tenant.post(f"/flow-runs/{waits}/repeat")).status_code == 400


async def test_fork_with_another_input(flows):
    """A fork keeps what came before the node and runs what follows it anew."""
    run = await flows.start(_fails_on_two(), {"items": "none"})
    await flows.ended(run, "failed")
    (failed,) = await flows.runs(run, "b")
    body = {"nodeRunId": failed["id"], "input": {"items": [1, 2]}}
    answer = await flows.tenant.post(f"/flow-runs/{run}/fork", json=body)
    assert answer.status_code == 200, answer.text
    again = answer.json()["id"]
    await flows.ended(again)
    assert (await flows.tenant.get(f"/flow-runs/{again}/output")).json() == {"output": [1, 2]}
    (before,), (kept,) = await flows.runs(run, "a"), await flows.runs(again, "a")
    assert kept["endTime"] == before["endTime"]


async def test_resume(flows):
    """A resumed run does not repeat what had ended well."""
    run = await flows.start(_fails_on_two(), {"items": "none"})
    await flows.ended(run, "failed")
    answer = await flows.tenant.post(f"/flow-runs/{run}/resume")
    again = answer.json()["id"]
    assert answer.json()["resumedFrom"] == run
    await flows.ended(again, "failed")
    (before,), (kept,) = await flows.runs(run, "a"), await flows.runs(again, "a")
    assert kept["endTime"] == before["endTime"]


async def test_fork_of_one_item(flows):
    """Of a for-each only the forked item runs again, and the list is gathered anew."""
    run = await flows.start(_fails_on_two(), {"items": [1, 2, 3]})
    await flows.ended(run)
    second = (await flows.runs(run, "c"))[1]
    body = {"nodeRunId": second["id"], "input": "changed"}
    again = (await flows.tenant.post(f"/flow-runs/{run}/fork", json=body)).json()["id"]
    await flows.ended(again)
    output = (await flows.tenant.get(f"/flow-runs/{again}/output")).json()["output"]
    assert sorted(map(str, output)) == sorted(
        map(str, ["changed" if item == second["input"] else item for item in [1, 2, 3]])
    )


async def test_many_at_once(flows):
    """All failed runs of a flow are run again in one call."""
    key = await flows.make(_fails_on_two())
    failed = [await flows.start(key, {"items": "none"}) for _ in range(3)]
    for run in failed:
        await flows.ended(run, "failed")
    answer = await flows.tenant.post("/flow-runs/repeat", json={"flowKey": key, "resume": True})
    assert sorted(item["id"] for item in answer.json()["items"]) == sorted(failed)
    for item in answer.json()["items"]:
        await flows.ended(item["flowRunId"], "failed")
