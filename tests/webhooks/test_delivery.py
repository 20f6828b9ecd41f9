"""Attempts: signed, repeated at their time, given up, and never in each other's way."""

from __future__ import annotations

import asyncio
import json

import pytest

from runtime.webhooks import delivery
from runtime.webhooks.outcome import DELAYS, next_try, quiet_time, retry_after
from tests.api.asking import ok, refused
from tests.waiting import eventually
from tests.webhooks.receiver import is_genuine


async def _delivery(manager, delivery_id):
    return await ok(manager.get(f"/webhook-deliveries/{delivery_id}"))


async def test_what_is_sent_is_signed(manager, receiver, endpoint, deliverer, tell):
    """The receiver can check who it is from, and an id, a type and a time are in it."""
    delivery_id = await tell(endpoint)
    assert await deliverer.deliver_due() == 1
    (got,) = receiver.received
    assert endpoint["secret"].startswith("whsec_")
    assert is_genuine(endpoint["secret"], got.headers, got.body)
    assert not is_genuine("whsec_" + "A" * 44, got.headers, got.body)
    assert not is_genuine(endpoint["secret"], got.headers, got.body + b" ")
    assert got.id == got.payload["id"] == delivery_id
    assert got.payload["eventType"] == "webhook.test"
    assert got.payload["data"] == {"webhookEndpoint": {"id": endpoint["id"]}}
    shown = await _delivery(manager, delivery_id)
    assert shown["status"] == "delivered"
    assert shown["payload"]["timestamp"][:19] == got.payload["timestamp"][:19]
    (attempt,) = shown["attempts"]
    assert (attempt["statusCode"], attempt["error"]) == (204, None)
    assert attempt["duration"] > 0
    assert await deliverer.deliver_due() == 0


async def test_a_failure_is_tried_again_at_its_time(
    manager, receiver, endpoint, deliverer, tell, clock
):
    """Seven more times, each after a longer while, always under the same id; then it has failed."""
    receiver.answers, receiver.body = ["500 Oops"] * 8, b"x" * 5000
    delivery_id = await tell(endpoint)
    assert await deliverer.deliver_due() == 1
    for tries, delay in enumerate(DELAYS, start=1):
        clock.go(delay - 1)
        assert await deliverer.deliver_due() == 0
        clock.go(delay * 0.2 + 2)
        assert await deliverer.deliver_due() == 1
        assert len(receiver.received) == tries + 1
    shown = await _delivery(manager, delivery_id)
    assert shown["status"] == "failed"
    assert {got.id for got in receiver.received} == {delivery_id}
    assert len(shown["attempts"]) == 8
    assert shown["attempts"][0]["statusCode"] == 500
    assert shown["attempts"][0]["answer"] == "x" * 1000
    clock.go(100_000)
    assert await deliverer.deliver_due() == 0


async def test_retry_after_is_heeded(receiver, endpoint, deliverer, tell, clock):
    """Neither this delivery nor another one is sent before the endpoint wants to hear."""
    receiver.answers = ["429 Too Many\r\nRetry-After: 120"]
    await tell(endpoint)
    assert await deliverer.deliver_due() == 1
    await tell(endpoint)
    clock.go(110)
    assert await deliverer.deliver_due() == 0
    clock.go(20)
    assert await deliverer.deliver_due() == 2


async def test_gone_switches_off_at_once(manager, receiver, endpoint, deliverer, tell):
    """An endpoint that answers 410 hears no more, and the workspace is alerted."""
    receiver.answers = ["410 Gone"]
    await tell(endpoint)
    await tell(endpoint)
    await deliverer.deliver_due()
    shown = await ok(manager.get(f"/webhook-endpoints/{endpoint['id']}"))
    assert (shown["isEnabled"], shown["disabledReason"]) == (False, "gone")
    (alert,) = (await ok(manager.get("/alerts")))["items"]
    assert (alert["type"], alert["severity"]) == ("webhookEndpointDisabled", "critical")
    assert alert["data"]["webhookEndpointId"] == endpoint["id"]
    await refused(manager.post(f"/webhook-endpoints/{endpoint['id']}/test"), 400)
    await ok(manager.patch(f"/webhook-endpoints/{endpoint['id']}", json={"isEnabled": True}))
    (alert,) = (await ok(manager.get("/alerts")))["items"]
    assert (alert["status"], alert["isCauseGone"]) == ("resolved", True)


async def test_nothing_but_failures_switches_off(
    manager, receiver, endpoint, deliverer, tell, clock
):
    """After days of failures only; one success in between and the days are counted anew."""
    receiver.answers = ["500 Oops"]
    await tell(endpoint)
    await deliverer.deliver_due()
    clock.go(86_400)
    assert await deliverer.deliver_due() == 1  # well again
    shown = await ok(manager.get(f"/webhook-endpoints/{endpoint['id']}"))
    assert (shown["failures"], shown["failingSince"]) == (0, None)
    receiver.answers = ["500 Oops"] * 50
    for _ in range(6):
        await tell(endpoint)
        await deliverer.deliver_due()
        clock.go(86_400)
    shown = await ok(manager.get(f"/webhook-endpoints/{endpoint['id']}"))
    assert (shown["isEnabled"], shown["disabledReason"]) == (False, "failing")
    assert len((await ok(manager.get("/alerts")))["items"]) == 1


async def test_a_redirect_is_not_followed(manager, receiver, endpoint, deliverer, tell):
    """What is signed for one place goes to no other."""
    receiver.answers = [f"307 Elsewhere\r\nLocation: {receiver.url}/other"]
    delivery_id = await tell(endpoint)
    await deliverer.deliver_due()
    assert [got.path for got in receiver.received] == ["/all"]
    shown = await _delivery(manager, delivery_id)
    assert (shown["status"], shown["attempts"][0]["statusCode"]) == ("pending", 307)


async def test_a_slow_endpoint_delays_nobody(manager, receiver, make_deliverer, tell):
    """While one holds all that it may, another workspace's and another endpoint's go on."""
    receiver.gates["/slow"] = asyncio.Event()
    slow, fast = [
        await ok(manager.post("/webhook-endpoints", json={"url": receiver.url + path}), 201)
        for path in ("/slow", "/fast")
    ]
    for _ in range(10):
        await tell(slow)
    deliverer = await make_deliverer(webhook_calls=16, webhook_calls_each=3, webhook_timeout=30.0)
    running = asyncio.create_task(deliverer.run())
    try:
        await eventually(lambda: len(receiver.at("/slow")) == 3)
        for _ in range(20):
            await tell(fast)
        await eventually(lambda: len(receiver.at("/fast")) == 20)
        assert len(receiver.at("/slow")) == 3
        receiver.gates["/slow"].set()
        await eventually(lambda: len(receiver.at("/slow")) == 10)
    finally:
        running.cancel()


async def test_one_workspace_gets_a_part_of_the_calls_only(
    make_workspace, receiver, make_deliverer
):
    """A workspace whose endpoints all hang leaves calls for the others."""
    receiver.gates["/slow"] = asyncio.Event()
    busy, other = await make_workspace(), await make_workspace()
    manager, neighbour = await busy.manager(), await other.manager()
    for _ in range(8):
        made = await ok(
            manager.post("/webhook-endpoints", json={"url": f"{receiver.url}/slow"}), 201
        )
        for _ in range(2):
            await ok(manager.post(f"/webhook-endpoints/{made['id']}/test"), 202)
    deliverer = await make_deliverer(webhook_calls=8, webhook_timeout=30.0)
    running = asyncio.create_task(deliverer.run())
    try:
        await eventually(lambda: len(receiver.at("/slow")) >= 2)
        made = await ok(
            neighbour.post("/webhook-endpoints", json={"url": f"{receiver.url}/fast"}), 201
        )
        await ok(neighbour.post(f"/webhook-endpoints/{made['id']}/test"), 202)
        await eventually(lambda: len(receiver.at("/fast")) == 1)
        assert len(receiver.at("/slow")) <= 4
    finally:
        running.cancel()


async def test_one_that_keeps_failing_gets_one_attempt_at_a_time(
    receiver, endpoint, make_deliverer, tell, clock
):
    """Of a backlog for a broken endpoint one delivery is tried, and then rarely."""
    deliverer = await make_deliverer(webhook_calls_each=4)
    for _ in range(12):
        await tell(endpoint)
    receiver.answers = ["500 Oops"] * 100
    first = await deliverer.deliver_due()
    assert first <= 8  # four at once, then it is left alone
    clock.go(quiet_time(first, None) + 0.1)
    assert await deliverer.deliver_due() == 1


async def test_a_process_that_stops_hears_the_answer(
    manager, receiver, endpoint, make_deliverer, tell
):
    """What is under way is not cut off, and so not sent twice."""
    receiver.gates["/all"] = asyncio.Event()
    delivery_id = await tell(endpoint)
    running = asyncio.create_task((await make_deliverer()).run())
    await eventually(lambda: receiver.received)
    running.cancel()
    receiver.gates["/all"].set()
    await asyncio.gather(running, return_exceptions=True)
    assert (await _delivery(manager, delivery_id))["status"] == "delivered"


async def test_a_secret_that_does_not_open_is_the_endpoints_own_trouble(
    manager, receiver, endpoint, deliverer, tell, platform
):
    """Nothing is sent unsigned, and the others are sent."""
    other = await ok(manager.post("/webhook-endpoints", json={"url": f"{receiver.url}/x"}), 201)
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE webhook_secrets SET sealed = sealed || '\\x00' WHERE endpoint_id = %s",
            (endpoint["id"],),
        )
    broken, fine = await tell(endpoint), await tell(other)
    await deliverer.deliver_due()
    assert [got.id for got in receiver.received] == [fine]
    shown = await _delivery(manager, broken)
    assert (shown["status"], len(shown["attempts"])) == ("pending", 1)
    await refused(manager.get(f"/webhook-endpoints/{endpoint['id']}/secret"), 404)


async def test_a_process_that_dies_lets_go(
    manager, receiver, endpoint, make_deliverer, tell, clock, monkeypatch
):
    """An attempt whose process was killed is made again by another, under the same id."""
    monkeypatch.setattr(delivery, "_LAST", 0.0)
    receiver.gates["/all"] = asyncio.Event()
    delivery_id = await tell(endpoint)
    dying, other = await make_deliverer(), await make_deliverer()
    running = asyncio.create_task(dying.run())
    await eventually(lambda: receiver.received)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await _delivery(manager, delivery_id))["attempts"] == []
    receiver.gates["/all"].set()
    assert await other.deliver_due() == 0
    clock.go(5 + 15 + 1)
    assert await other.deliver_due() == 1
    assert [got.id for got in receiver.received] == [delivery_id] * 2
    assert (await _delivery(manager, delivery_id))["status"] == "delivered"


async def test_private_addresses_are_refused(manager, deliverer, make_deliverer, endpoint, tell):
    """At once where the URL shows it, and at the call where only the policy of then does."""
    for url in ("http://169.254.169.254/x", "ftp://example.com", "https://a:b@example.com", "x"):
        body = await refused(manager.post("/webhook-endpoints", json={"url": url}), 400)
        assert body["data"]["errors"][0]["path"] == "/url"
    delivery_id = await tell(endpoint)
    strict = await make_deliverer(egress_allow="", egress_http=True)
    await strict.deliver_due()
    shown = await _delivery(manager, delivery_id)
    assert shown["status"] == "pending"
    assert shown["attempts"][0]["statusCode"] is None
    assert shown["attempts"][0]["error"]


async def test_a_rotation_signs_with_both(manager, receiver, endpoint, deliverer, tell, platform):
    """Until the overlap ends a receiver may know either secret; then the new one only."""
    path = f"/webhook-endpoints/{endpoint['id']}"
    new = (await ok(manager.post(f"{path}/rotate-secret", json={"overlapSeconds": 3600})))["secret"]
    await tell(endpoint)
    await deliverer.deliver_due()
    got = receiver.received[-1]
    assert is_genuine(endpoint["secret"], got.headers, got.body)
    assert is_genuine(new, got.headers, got.body)
    newest = (await ok(manager.post(f"{path}/rotate-secret", json={"overlapSeconds": 0})))["secret"]
    await tell(endpoint)
    await deliverer.deliver_due()
    got = receiver.received[-1]
    assert is_genuine(newest, got.headers, got.body)
    assert not is_genuine(endpoint["secret"], got.headers, got.body)
    assert not is_genuine(new, got.headers, got.body)
    assert (await ok(manager.get(f"{path}/secret")))["secret"] == newest
    tags = await platform.rows(
        "SELECT tag, changes::text FROM audit_records WHERE target_id = %s ORDER BY id",
        endpoint["id"],
    )
    assert [row["tag"].partition(":")[2] for row in tags] == [
        "created",
        "secret_rotated",
        "secret_rotated",
        "secret_read",
    ]
    assert "whsec_" not in json.dumps(tags)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30.0), ("99999999", 36_000.0), ("soon", None), (None, None), ("-5", None), ("", None)],
)
def test_retry_after_in_seconds(header, seconds, clock):
    """Bounded, and nonsense is nothing."""
    assert retry_after(header, clock()) == seconds


def test_retry_after_as_a_date(clock):
    """A moment in the past is no wait."""
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", clock()) == 0.0
    assert retry_after("Wed, 21 Oct 2099 07:28:00 GMT", clock()) == 36_000.0


def test_delays():
    """Eight attempts, and Retry-After only ever makes it later."""
    assert [next_try(tries, None, lambda: 0.0) for tries in range(1, 9)] == [*DELAYS, None]
    assert next_try(1, 100.0, lambda: 0.0) == 100.0
    assert next_try(3, 100.0, lambda: 0.0) == 1800.0
