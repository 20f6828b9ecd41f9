"""A lane holds so many messages and no more; PostgreSQL keeps the others, and nothing overtakes."""

from __future__ import annotations

import asyncio

import pytest

from runtime.lanes.client import BlockingLanes, Lanes, connect, wait_for_thirst
from runtime.lanes.control import filled, set_caps, spill, thirsty
from runtime.lanes.messages import QueuedMessage, acked, retried
from runtime.lanes.operations import depth, enqueue, exchange, lane_depth, remove

HEAD = 10


@pytest.fixture(autouse=True)
def no_thirst(client):
    """Thirst is over all queues: begin without any."""
    client.flushall()


def messages(start, stop, tenant="acme", **more):
    return [QueuedMessage(str(n), "shop", tenant, b"{}", **more) for n in range(start, stop)]


def send(lanes, batch, **more):
    return lanes.run(enqueue(batch, head=HEAD, **more))


def fetch(lanes, room=10, outcomes=()):
    return [m.message_id for m in lanes.run(exchange("worker", room, outcomes)).messages]


def names(start, stop):
    return [str(n) for n in range(start, stop)]


def later(client, milliseconds=5_001):
    """Let lanes that were given to a refiller ask again, as if so much time had passed."""
    for name, at in client.zrange("{vesicle}:thirsty", 0, -1, withscores=True):
        client.zadd("{vesicle}:thirsty", {name: at - milliseconds})


def test_what_does_not_fit_is_named(lanes):
    """Of fifteen messages ten are taken in, in their order, and the other five are named."""
    assert send(lanes, messages(0, 15)) == (10, names(10, 15))
    assert lanes.run(lane_depth("shop", "acme")).deep
    assert lanes.run(depth()).deep_lanes == 1
    assert fetch(lanes) == names(0, 10)


def test_the_head_is_each_tenants_own(lanes):
    """A tenant whose lane is full takes no room from another."""
    send(lanes, messages(0, 15))
    assert send(lanes, messages(20, 25, "globex")) == (5, [])
    assert not lanes.run(lane_depth("shop", "globex")).deep


def test_nothing_overtakes_the_backlog(lanes):
    """While a lane is deep a new message waits in PostgreSQL, even when the lane is empty."""
    send(lanes, messages(0, 11))
    fetch(lanes)
    assert send(lanes, messages(11, 12)) == (0, ["11"])
    assert send(lanes, messages(10, 12), refill=True) == (2, [])
    assert lanes.run(filled("shop", "acme"))
    assert send(lanes, messages(12, 13)) == (1, [])
    assert fetch(lanes) == names(10, 13)


def test_a_higher_priority_may_overtake(lanes):
    """What has a higher priority than all that waits in PostgreSQL gets in, up to a bound."""
    send(lanes, messages(0, 11, priority=1))
    assert send(lanes, messages(20, 21, priority=1)) == (0, ["20"])
    assert send(lanes, messages(1000, 1250, priority=2)) == (200, names(1200, 1250))
    assert send(lanes, messages(30, 31, priority=2)) == (0, ["30"])
    assert fetch(lanes, 1) == ["1000"]


def test_a_known_message_is_not_spilled(lanes):
    """Sending again what is in a full lane, held or queued, names nothing."""
    send(lanes, messages(0, 12))
    fetch(lanes, 3)
    assert send(lanes, messages(0, 10)) == (0, [])


def test_all_that_waits_counts(lanes):
    """Delayed and parked messages take room like those that could start; held ones do not."""
    lanes.run(set_caps({"connection:c": 0}, "1"))
    send(lanes, messages(0, 3, delay=60_000))
    send(lanes, messages(3, 6, connection="c"))
    send(lanes, messages(6, 10))
    assert fetch(lanes, 2) == ["6", "7"]
    found = lanes.run(lane_depth("shop", "acme"))
    assert (found.queued, found.parked, found.delayed) == (2, 3, 3)
    assert send(lanes, messages(10, 15)) == (2, names(12, 15))
    fetch(lanes, 0, [retried("6", 0.1, 60_000), acked("7", 0.1)])
    assert lanes.run(lane_depth("shop", "acme")).delayed == 4


def test_a_deep_lane_asks_below_half(lanes, queue):
    """A refill is asked for when less than half of the head is left, with the room there is."""
    send(lanes, messages(0, 12))
    fetch(lanes, 5)
    assert lanes.run(thirsty(10)) == []
    fetch(lanes, 1)
    assert lanes.run(thirsty(10)) == [(queue, "shop", "acme", 6, 2)]
    assert lanes.run(thirsty(10)) == []


def test_a_shallow_lane_asks_for_nothing(lanes):
    """A lane that never spilled is not refilled, however empty it is."""
    send(lanes, messages(0, 10))
    fetch(lanes, 10)
    assert lanes.run(thirsty(10)) == []


async def test_thirst_wakes_the_refiller(lanes, redis_url, queue):
    """A refiller that blocks is woken once, and gets the lanes of all queues from any of them."""
    client = connect(redis_url, patience=10)
    other = Lanes(client, f"{queue}-other")
    send(lanes, messages(0, 12))
    waiting = asyncio.create_task(wait_for_thirst(client, 5))
    await asyncio.to_thread(fetch, lanes, 8)
    assert await waiting
    assert not await wait_for_thirst(client, 0.01)
    (lane,) = await other.run(thirsty(10))
    assert lane.queue == queue
    await client.aclose()


def test_more_thirsty_lanes_than_asked_for(lanes, client):
    """Three lanes ask, two are taken: the third is left, and with it a token."""
    for n in range(3):
        lanes.run(spill("shop", f"t{n}", 0))
    client.delete("{vesicle}:thirsty:wake")
    assert len(lanes.run(thirsty(2))) == 2
    assert client.llen("{vesicle}:thirsty:wake") == 1
    assert len(lanes.run(thirsty(2))) == 1


def test_a_refill(lanes):
    """A refill that brings the lane to half its head ends the thirst until it is short again."""
    send(lanes, messages(0, 30))
    fetch(lanes, 10)
    (lane,) = lanes.run(thirsty(10))
    assert lane.room == 10
    assert send(lanes, messages(10, 20), refill=True) == (10, [])
    assert lanes.run(thirsty(10)) == []
    assert fetch(lanes, 6) == names(10, 16)
    assert len(lanes.run(thirsty(10))) == 1


def test_a_refill_that_brings_too_little_asks_again(lanes):
    """As long as the lane is short and nobody said that it is filled, it asks at once again."""
    send(lanes, messages(0, 30))
    fetch(lanes, 10)
    lanes.run(thirsty(10))
    send(lanes, messages(10, 12), refill=True)
    assert len(lanes.run(thirsty(10))) == 1


def test_a_refill_cannot_overfill(lanes):
    """A refill that brings more than there is room for is told what did not fit."""
    send(lanes, messages(0, 12))
    fetch(lanes, 8)
    assert send(lanes, messages(20, 35), refill=True) == (8, names(28, 35))
    assert lanes.run(lane_depth("shop", "acme"))[4]


def test_a_dead_refiller_is_replaced(lanes, client):
    """A lane that was given to a refiller and not filled asks again after five seconds."""
    lanes.run(spill("shop", "acme", 0))
    assert len(lanes.run(thirsty(10))) == 1
    later(client, 4_000)
    assert lanes.run(thirsty(10)) == []
    later(client, 1_001)
    assert len(lanes.run(thirsty(10))) == 1


def test_marked_without_sending(lanes, queue):
    """A lane that is marked as deep asks at once, though it holds no message at all."""
    lanes.run(spill("shop", "acme", 3, head=HEAD))
    assert send(lanes, messages(0, 1, priority=3)) == (0, ["0"])
    assert send(lanes, messages(0, 1, priority=4)) == (1, [])
    assert lanes.run(thirsty(10)) == [(queue, "shop", "acme", 9, 2)]


def test_filled_loses_no_spill(lanes):
    """What was spilled after the refiller looked keeps the lane deep, and it asks again."""
    send(lanes, messages(0, 11))
    fetch(lanes, 10)
    (lane,) = lanes.run(thirsty(10))
    send(lanes, messages(11, 12))
    assert not lanes.run(filled("shop", "acme", lane.spills))
    (lane,) = lanes.run(thirsty(10))
    assert lanes.run(filled("shop", "acme", lane.spills))
    assert lanes.run(thirsty(10)) == []
    assert send(lanes, messages(12, 13)) == (1, [])


def test_withdrawing_makes_thirsty_too(lanes):
    """A lane whose messages are cancelled asks for others."""
    send(lanes, messages(0, 12))
    for name in names(0, 6):
        assert lanes.run(remove(name))
    (lane,) = lanes.run(thirsty(10))
    assert lane.room == 6


def test_a_backlog_is_served_in_order(lanes, client):
    """Two hundred messages through a head of ten: every one is served once, in its order."""
    table = messages(0, 200)
    spilled = set(send(lanes, table).spilled)
    served, held = [], []
    for _ in range(400):
        held = fetch(lanes, 3, [acked(name, 0.01) for name in held])
        served += held
        for lane in lanes.run(thirsty(5)):
            rows = [m for m in table if m.message_id in spilled][: lane.room]
            spilled -= {m.message_id for m in rows}
            spilled |= set(send(lanes, rows, refill=True).spilled)
            if not spilled:
                lanes.run(filled(lane.workspace, lane.tenant, lane.spills))
    assert served == names(0, 200)
    assert not lanes.run(lane_depth("shop", "acme")).deep
    assert client.zcard("{vesicle}:thirsty") == 0


def test_queues_have_heads_of_their_own(lanes, client, queue):
    """A tenant's lane in another queue is not deep because this one is."""
    send(lanes, messages(0, 11))
    other = BlockingLanes(client, f"{queue}-other")
    assert send(other, messages(20, 21)) == (1, [])
