"""Outside apps at their worst: each run ends with its own error, and the neighbour's go on."""

from __future__ import annotations

import asyncio

import pytest

from runtime.clock import monotonic
from tests.bad_input.conftest import check_envelope

#: Path of the sample app -> the answer's status, the error's key and its reason or message.
FAULTS = {
    "/faults/hang": (504, "action_run", "timed_out", "longer than its 0.7 s"),
    "/faults/drip": (504, "action_run", "timed_out", "longer than its 0.7 s"),
    "/faults/status/500": (502, "connection", None, "The outside app answered 500"),
    "/faults/status/503": (502, "connection", None, "The outside app answered 503"),
    "/faults/status/404": (502, "connection", None, "The outside app answered 404"),
    "/faults/status/401": (400, "connection", "access_token_expired", "refused"),
    "/faults/rate-limit": (429, "connection", "rate_limit_exceeded", "slow down"),
    "/faults/html": (502, "connection", None, "HTML"),
    "/faults/broken-json": (502, "connection", None, "JSON"),
    "/faults/big": (502, "connection", None, "larger than 30000000 bytes"),
    "/faults/gzip-bomb": (502, "connection", None, "compressed too far"),
    "/faults/reset": (502, "connection", None, "closed"),
    "/faults/redirect-loop": (502, "connection", None, "redirects more than"),
    "/faults/redirect?to=http://169.254.169.254/latest": (400, "connection", "egress_denied", ""),
    "/faults/redirect?to=http://10.0.0.1/": (400, "connection", "egress_denied", ""),
    "/faults/redirect?to=http://[::ffff:10.0.0.1]/": (400, "connection", "egress_denied", ""),
    "/faults/redirect?to=file:///etc/passwd": (400, "connection", "egress_denied", ""),
}

#: Faults that take as long as the run may take.
_ENDLESS = {"/faults/hang", "/faults/drip"}


@pytest.mark.parametrize("path", FAULTS)
async def test_each_fault_has_its_own_error(shop, next_door, path):
    """A run against a broken app ends as failed, says how, and disturbs nobody else."""
    status, type_, key, message = FAULTS[path]
    path, _, query = path.partition("?to=")
    action = await shop.request(
        path,
        seconds=0.7 if path in _ENDLESS else 20,
        request={"query": {"to": query}} if query else {},
        retry={"maxParks": 0},
    )
    began = monotonic()
    answer = await shop.run(action, {})
    assert monotonic() - began < 5
    body = check_envelope(answer, status, type_, key)
    assert message in body["message"]
    await shop.assert_on_record(body["actionRunId"], "failed", body)


async def test_errors_differ(shop):
    """No two of these faults are told in the same words, but for the places that are forbidden."""
    told = {}
    for path, (*_, key, _) in FAULTS.items():
        if path not in _ENDLESS and key != "egress_denied" and "big" not in path:
            answer = await shop.run(await shop.request(path), {})
            told[path] = answer.json()["message"]
    assert len(set(told.values())) == len(told)


async def test_an_app_that_is_not_there(shop):
    """Nobody at the address is told as such."""
    request = {"uri": "http://127.0.0.1:9"}
    action = await shop.action({"type": "http-request", "config": {"request": request}})
    body = check_envelope(await shop.run(action, {}), 502, "connection", None)
    assert body["data"]["reason"] == "unreachable"
    await shop.assert_on_record(body["actionRunId"], "failed", body)


async def test_a_page_is_data_for_whoever_asks_for_one(shop):
    """HTML is a result where the action asks for HTML, and for a plain request to an address."""
    wanting = await shop.request("/faults/html", request={"headers": {"Accept": "text/html"}})
    plain = {"uri": f"{shop.crm.address}/faults/html"}
    fetching = await shop.action({"type": "http-request", "config": {"request": plain}})
    for action in (wanting, fetching):
        answer = await shop.run(action, {})
        assert answer.status_code == 200
        assert "Down for maintenance" in answer.json()["output"]["data"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://0xA9FEA9FE/",
        "http://[fd00::1]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://user:pass@127.0.0.1/",
    ],
)
async def test_forbidden_addresses(shop, uri):
    """A request to where no outside app can be is refused before anything is sent."""
    action = await shop.action({"type": "http-request", "config": {"request": {"uri": uri}}})
    body = check_envelope(await shop.run(action, {}), 400, "connection", "egress_denied")
    await shop.assert_on_record(body["actionRunId"], "failed", body)


async def test_a_hundred_faults_at_once(shop, next_door):
    """Many broken runs of one tenant at once end each in time, while globex goes on."""
    hang = await shop.request("/faults/hang", seconds=1)
    broken = await shop.request("/faults/broken-json")
    answers = await asyncio.gather(
        *(shop.run(hang, {}) for _ in range(50)), *(shop.run(broken, {}) for _ in range(50))
    )
    assert {answer.status_code for answer in answers[:50]} == {504}
    assert {answer.status_code for answer in answers[50:]} == {502}
    runs = {answer.json()["actionRunId"] for answer in answers}
    assert len(runs) == 100
    rows = await shop.platform.rows(
        "SELECT count(*) AS n FROM activity_records WHERE run_id = ANY(%s::uuid[])", list(runs)
    )
    assert rows[0]["n"] == 100


async def test_an_error_can_be_a_result(shop):
    """An action that says so takes the app's 500 as its result, and still no broken answer."""
    action = await shop.request("/faults/status/500", config={"allowNon2xx": True})
    answer = await shop.run(action, {})
    assert answer.status_code == 200
    assert answer.json()["output"]["status"] == 500
