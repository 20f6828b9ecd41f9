"""Who is served next: shares are counted in seconds of work, first by workspace, then by tenant."""

from __future__ import annotations

from collections import Counter

import pytest

from runtime.lanes.messages import QueuedMessage, acked
from runtime.lanes.operations import enqueue, exchange, weigh


def send(lanes, tenant, count, workspace="shop"):
    messages = [
        QueuedMessage(f"{workspace}-{tenant}-{n}", workspace, tenant, b"{}") for n in range(count)
    ]
    lanes.run(enqueue(messages))


def tenants(batch):
    return [message.tenant for message in batch.messages]


def work(lanes, rounds, seconds):
    """Fetch and finish one message after the other; count them by lane."""
    served, outcomes = Counter(), []
    for _ in range(rounds):
        (message,) = lanes.run(exchange("worker", 1, outcomes)).messages
        served[message.workspace, message.tenant] += 1
        outcomes = [acked(message.message_id, seconds.get(message.tenant, 0.1))]
    lanes.run(exchange("worker", 0, outcomes))
    return served


def test_tenants_take_turns(lanes):
    """Two tenants with a backlog are served alternately, each in the order of its sending."""
    send(lanes, "acme", 4)
    send(lanes, "globex", 4)
    batch = lanes.run(exchange("worker", 8))
    assert tenants(batch) == ["acme", "globex"] * 4
    ours = [message.message_id for message in batch.messages if message.tenant == "acme"]
    assert ours == [f"shop-acme-{n}" for n in range(4)]


def test_a_flood_is_not_felt(lanes):
    """A tenant's first message is next even if another's 900 were sent before it."""
    send(lanes, "acme", 900)
    lanes.run(exchange("worker", 50))
    send(lanes, "globex", 1)
    assert tenants(lanes.run(exchange("worker", 2)))[0] == "globex"


def test_nobody_waits_for_the_absent(lanes):
    """A single tenant gets every free slot, whatever it used before."""
    send(lanes, "acme", 900)
    assert len(lanes.run(exchange("worker", 500)).messages) == 500
    assert len(lanes.run(exchange("worker", 500)).messages) == 400


def test_shares_are_seconds_not_messages(lanes):
    """A tenant whose messages take nine times as long gets a ninth as many."""
    send(lanes, "acme", 300)
    send(lanes, "globex", 300)
    served = work(lanes, 300, {"acme": 0.9, "globex": 0.1})
    assert served["shop", "globex"] / served["shop", "acme"] == pytest.approx(9, rel=0.15)


def test_a_workspace_gains_nothing_by_many_tenants(lanes):
    """Ten tenants of one workspace together get as much as the only tenant of another."""
    for n in range(10):
        send(lanes, f"tenant{n}", 40, workspace="crowd")
    send(lanes, "acme", 200, workspace="single")
    served = work(lanes, 200, {})
    assert served["single", "acme"] == pytest.approx(100, abs=2)
    assert all(8 <= served["crowd", f"tenant{n}"] <= 12 for n in range(10))


def test_weights(lanes):
    """A tenant of weight three gets three times the share; a changed weight counts at once."""
    send(lanes, "acme", 300)
    send(lanes, "globex", 300)
    lanes.run(weigh("shop", "acme", 3))
    served = work(lanes, 200, {})
    assert served["shop", "acme"] == pytest.approx(150, abs=4)


def test_absence_saves_up_nothing(lanes):
    """A tenant that was idle while another worked takes turns with it, it does not catch up."""
    send(lanes, "acme", 400)
    send(lanes, "globex", 1)
    work(lanes, 201, {})
    send(lanes, "globex", 100)
    served = work(lanes, 40, {})
    assert served["shop", "globex"] == pytest.approx(20, abs=2)


def test_leaving_wipes_out_no_debt(lanes):
    """A tenant that used a minute comes back behind one that used a second."""
    send(lanes, "acme", 1)
    send(lanes, "globex", 1)
    work(lanes, 2, {"acme": 60.0, "globex": 1.0})
    send(lanes, "acme", 20)
    send(lanes, "globex", 60)
    served = work(lanes, 50, {"acme": 1.0, "globex": 1.0})
    assert served["shop", "acme"] <= 1


def test_a_batch_is_as_fair_as_single_fetches(lanes):
    """Fetched thirty at once, three tenants of one workspace get ten each."""
    for tenant in ("acme", "globex", "initech"):
        send(lanes, tenant, 100)
    assert set(Counter(tenants(lanes.run(exchange("worker", 30)))).values()) == {10}


def test_spare_room_is_for_who_holds_little(lanes, client):
    """What is spare goes to a tenant that holds less than half its part, and to nobody else."""
    client.flushall()
    send(lanes, "acme", 100)
    assert len(lanes.run(exchange("worker", 20, spare=5)).messages) == 20
    assert lanes.run(exchange("worker", 0, spare=5)).messages == []
    send(lanes, "globex", 100)
    assert tenants(lanes.run(exchange("worker", 0, spare=5))) == ["globex"] * 5
    assert tenants(lanes.run(exchange("worker", 0, spare=5))) == ["globex"] * 2
    assert lanes.run(exchange("worker", 0, spare=5)).messages == []


async def test_spare_room_is_woken_for(async_lanes, client):
    """Who has nothing but spare room is woken by a tenant that holds little, not by a flood."""
    client.flushall()
    flood = [QueuedMessage(f"a{n}", "shop", "acme", b"{}") for n in range(100)]
    await async_lanes.run(enqueue(flood))
    await async_lanes.run(exchange("worker", 20, spare=5))
    while await async_lanes.wait_spare(0.01):
        pass
    await async_lanes.run(enqueue([QueuedMessage("more", "shop", "acme", b"{}")]))
    assert not await async_lanes.wait_spare(0.01)
    await async_lanes.run(enqueue([QueuedMessage("light", "shop", "globex", b"{}")]))
    assert await async_lanes.wait_spare(1)
