"""The same request twice is one run and one effect, and nobody else's business."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.bad_input.conftest import check_envelope


@pytest.fixture
async def deal(shop):
    """An action that makes a deal in the connected account; its call carries the run's id."""
    return await shop.request(
        "/api/deals",
        request={"method": "POST", "data": {"title": {"$var": "$.input.title"}, "amount": 100}},
        idempotency={"header": "Idempotency-Key"},
    )


async def _effects(shop, runs, tenant="acme") -> int:
    calls = await shop.crm.calls(shop.accounts[tenant])
    return sum(calls.get(run, 0) for run in runs)


async def _runs_of(shop, action) -> list[str]:
    rows = await shop.platform.rows("SELECT id::text FROM runs WHERE element_key = %s", action)
    return [row["id"] for row in rows]


async def test_fifty_at_once_are_one(shop, deal):
    """Fifty identical requests at once make one run, one call and fifty equal answers."""
    key = uuid.uuid4().hex
    answers = await asyncio.gather(
        *(shop.run(deal, {"title": "Anvils"}, Idempotency_Key=key) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    runs = await _runs_of(shop, deal)
    assert runs == [answers[0].json()["actionRunId"]]
    assert await _effects(shop, runs) == 1
    assert len(await shop.records(runs[0])) == 1


async def test_a_repeat_later_has_the_first_answer(shop, deal):
    """The same request after its run has ended is answered from the record, without a call."""
    key = uuid.uuid4().hex
    first = await shop.run(deal, {"title": "Magnets"}, Idempotency_Key=key)
    again = await shop.run(deal, {"title": "Magnets"}, Idempotency_Key=f'"{key}"')
    assert again.content == first.content
    assert await _effects(shop, await _runs_of(shop, deal)) == 1


async def test_a_failure_is_repeated_as_such(shop):
    """The first answer stands also where it was an error; a new key tries again."""
    action = await shop.request("/faults/status/500", request={"method": "POST"})
    key = uuid.uuid4().hex
    first, again = [await shop.run(action, {}, Idempotency_Key=key) for _ in range(2)]
    assert first.status_code == again.status_code == 502
    assert first.json()["actionRunId"] == again.json()["actionRunId"]
    other = await shop.run(action, {}, Idempotency_Key=uuid.uuid4().hex)
    assert other.json()["actionRunId"] != first.json()["actionRunId"]


@pytest.mark.parametrize("change", ["input", "action", "meta"])
async def test_another_request_under_the_same_key(shop, deal, change):
    """A key that stands for another request is refused with 422, and the error names its run."""
    key = uuid.uuid4().hex
    first = await shop.run(deal, {"title": "Springs"}, Idempotency_Key=key)
    body = {"input": {"title": "Springs"}}
    if change == "input":
        body["input"] = {"title": "Ladders"}
    elif change == "meta":
        body["meta"] = {"n": 1}
    action = "list-deals" if change == "action" else deal
    answer = await shop.acme.post(
        f"/actions/{action}/run", json=body, headers={"Idempotency-Key": key}
    )
    told = check_envelope(answer, 422, key="idempotency_conflict")
    assert told["data"] == {"runId": first.json()["actionRunId"]}
    assert len(await _runs_of(shop, deal)) == 1


async def test_another_tenants_key_is_another_key(shop, deal):
    """A key that acme has used is new to globex, which gets a run and a deal of its own."""
    key = uuid.uuid4().hex
    mine = await shop.run(deal, {"title": "Anvils"}, Idempotency_Key=key)
    theirs = await shop.run(deal, {"title": "Pumps"}, caller=shop.globex, Idempotency_Key=key)
    assert theirs.status_code == 200
    assert theirs.json()["actionRunId"] != mine.json()["actionRunId"]
    assert await _effects(shop, [theirs.json()["actionRunId"]], "globex") == 1


async def test_a_refused_request_leaves_its_key_free(shop, deal):
    """A request that was not accepted does not use up its key."""
    key = uuid.uuid4().hex
    assert (await shop.run("none", {}, Idempotency_Key=key)).status_code == 404
    assert (await shop.run(deal, {"title": "Anvils"}, Idempotency_Key=key)).status_code == 200


async def test_a_repeat_with_a_handle(shop):
    """Asynchronous repeats get the handle of the one run, also while it is still going on."""
    action, key = await shop.function("sleep"), uuid.uuid4().hex
    answers = [
        await shop.run(action, {"seconds": 0.3}, Idempotency_Key=key, Prefer="respond-async")
        for _ in range(2)
    ]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["location"] for answer in answers}) == 1
    ended = await shop.acme.get(answers[0].headers["location"] + "?wait=10")
    assert ended.json()["output"] == "slept"


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "a\tb", "\u00a0"])
async def test_a_key_that_is_none(shop, deal, key):
    """A key that cannot be one is refused before anything happens."""
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = await shop.acme.post(f"/actions/{deal}/run", json={}, headers=headers)
    body = check_envelope(answer, 400)
    assert body["data"] == {"header": "Idempotency-Key"}
    assert await _runs_of(shop, deal) == []
