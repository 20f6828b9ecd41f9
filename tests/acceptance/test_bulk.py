"""Many runs in one call: each item has its own answer, and each accepted one runs."""

from __future__ import annotations

import pytest

from tests.samples import add_function
from tests.waiting import eventually


@pytest.fixture
async def ready(platform, workspace, worker, acme):
    """A workspace with an action that takes an object with a number."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    await add_function(platform, workspace.id, "echo", inputSchema=schema)
    return workspace


async def _all_ended(acme, ids):
    async def look():
        rows = (await acme.get("/runs?limit=1000")).json()["items"]
        ended = [row["id"] for row in rows if row["status"] == "completed"]
        return set(ids) <= set(ended)

    await eventually(look, seconds=60)


async def test_a_thousand_in_one_call(ready, acme):
    """A thousand and more items are accepted at once, in order, and all of them run."""
    runs = [{"action": "echo", "input": {"n": number}} for number in range(1000)]

    answer = await acme.post("/runs", json={"runs": runs})

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (1000, 0)
    assert [item["index"] for item in body["items"]] == list(range(1000))
    await _all_ended(acme, [item["id"] for item in body["items"]])
    last = (await acme.get(f"/runs/{body['items'][-1]['id']}")).json()
    assert (last["input"], last["queue"]) == ({"n": 999}, "bulk")


async def test_a_bad_item_spoils_nothing(ready, acme):
    """What is wrong with an item is said at its place; the others are accepted."""
    runs = [
        {"action": "echo", "input": {"n": 1}},
        {"action": "echo", "input": {"n": "one"}},
        {"action": "nothing"},
        {"action": "echo", "inputs": {}},
        "echo",
        {"action": "echo", "input": {"n": 2}, "priority": 99},
        {"action": "echo", "input": {"n": 3}, "priority": 9, "meta": {"a": 1}},
    ]

    body = (await acme.post("/runs", json={"runs": runs, "queue": "default"})).json()

    assert (body["accepted"], body["refused"]) == (2, 5)
    assert [index for index, item in enumerate(body["items"]) if "id" in item] == [0, 6]
    errors = {item["index"]: item["error"] for item in body["items"] if "error" in item}
    assert errors[1]["key"] == "invalid_input"
    assert errors[2]["key"] == "not_found"
    assert "inputs" in errors[3]["message"]
    assert "runs[4]" in errors[4]["message"]
    assert "priority" in errors[5]["message"]
    await _all_ended(acme, [body["items"][0]["id"], body["items"][6]["id"]])


async def test_the_same_key_is_the_same_run(ready, acme):
    """Keys hold within a call and across calls, also with single submissions."""
    item = {"action": "echo", "input": {"n": 1}, "idempotencyKey": "k-1"}
    other = {**item, "input": {"n": 2}}

    first = (await acme.post("/runs", json={"runs": [item, item, other]})).json()["items"]
    again = (await acme.post("/runs", json={"runs": [item]})).json()["items"]
    single = await acme.post(
        "/actions/echo/run", json={"input": {"n": 1}}, headers={"Idempotency-Key": "k-1"}
    )

    assert first[0]["id"] == first[1]["id"] == again[0]["id"] == single.json()["actionRunId"]
    assert first[1]["isRepeat"]
    assert first[2]["error"]["key"] == "idempotency_conflict"
    assert len((await acme.get("/runs")).json()["items"]) == 1


async def test_a_refused_item_leaves_its_key_free(ready, acme):
    """A key that was sent with a bad item can be used with a good one."""
    bad = {"action": "echo", "input": {"n": "x"}, "idempotencyKey": "k-2"}
    good = {**bad, "input": {"n": 1}}
    assert "error" in (await acme.post("/runs", json={"runs": [bad]})).json()["items"][0]
    assert "id" in (await acme.post("/runs", json={"runs": [good]})).json()["items"][0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "runs"),
        ({"runs": []}, "runs"),
        ({"runs": {"action": "echo"}}, "runs"),
        ({"runs": [{}] * 10_001}, "runs"),
        ({"runs": [{"action": "echo"}], "queue": "sync"}, "queue"),
        ({"runs": [{"action": "echo"}], "que": "bulk"}, "que"),
    ],
)
async def test_a_wrong_call_is_refused_whole(ready, acme, body, said):
    """A call that is not one says what is wrong with it."""
    answer = await acme.post("/runs", json=body)
    assert answer.status_code == 400
    assert said in answer.text


async def test_queue_and_priority_of_a_single_run(ready, acme):
    """A caller who does not wait chooses the queue, and anybody the priority."""
    answer = await acme.post(
        "/actions/echo/run?async=true&queue=bulk&priority=-3", json={"input": {"n": 1}}
    )
    run = (await acme.get(f"/runs/{answer.json()['id']}?wait=10")).json()
    assert (run["queue"], run["priority"], run["status"]) == ("bulk", -3, "completed")
    for query in ("async=true&queue=fast", "priority=10", "priority=x"):
        answer = await acme.post(f"/actions/echo/run?{query}", json={"input": {"n": 1}})
        assert answer.status_code == 400
