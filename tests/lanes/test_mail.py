"""Who waits is given the next message, without having to ask for it; and nothing is lost by it."""

from __future__ import annotations

import asyncio

import pytest

from runtime.lanes.control import set_caps
from runtime.lanes.messages import QueuedMessage, acked, back
from runtime.lanes.operations import beat, depth, enqueue, exchange, leave


def message(name, tenant="acme", delay=0):
    return QueuedMessage(name, "shop", tenant, b"{}", delay)


@pytest.fixture(autouse=True)
def nothing_left(client):
    """What other tests' consumers hold would count under caps."""
    client.flushall()
    yield
    client.flushall()


@pytest.fixture
def ask(async_lanes):
    """Exchange as a consumer that reads its mail."""

    async def ask(consumer="worker", room=4, outcomes=()):
        answer = await async_lanes.run(exchange(consumer, room, outcomes, reads_mail=True))
        return [got.message_id for got in answer.messages]

    return ask


@pytest.fixture
def mail(async_lanes):
    """What comes to a consumer: a message's name, True for a token, False for nothing."""

    async def mail(consumer="worker", seconds=0.01):
        found = await async_lanes.wait(seconds, consumer)
        return found.message_id if isinstance(found, QueuedMessage) else found

    return mail


async def send(lanes, *names, **more):
    await lanes.run(enqueue([message(name, **more) for name in names]))


async def test_who_found_too_little_is_given_the_next_one(async_lanes, ask, mail):
    """It holds the message from then on, and nobody is woken for it."""
    assert await ask() == []
    await send(async_lanes, "a")
    assert await mail() == "a"
    assert await mail("other") is False
    assert (await async_lanes.run(beat("worker"))).held == {"a"}
    assert await ask(outcomes=[acked("a", 0.1)]) == []
    assert (await async_lanes.run(depth())).total == 0


async def test_mail_is_a_message_like_any_other(async_lanes, ask):
    """It carries what was sent, to the byte."""
    await ask()
    sent = QueuedMessage("a", "shop", "acme", b'{"x": "\x1f\x00"}', 0, 3, "conn", "shop/element")
    await async_lanes.run(enqueue([sent]))
    assert await async_lanes.wait(1, "worker") == sent


async def test_one_is_given_at_most(async_lanes, ask, mail):
    """For what comes besides somebody is woken: a message must not wait for a busy worker."""
    await ask()
    await send(async_lanes, "a", "b", "c")
    await send(async_lanes, "d")
    assert await mail() == "a"
    assert await mail("other") is True
    assert await mail() is False
    assert await ask("other", 9) == ["b", "c", "d"]


async def test_a_busy_consumer_gets_no_mail(async_lanes, ask, mail):
    """Who has no room, or just as much as there was, has to ask when it has room again."""
    await send(async_lanes, "a", "b", "c")
    assert await ask(room=3) == ["a", "b", "c"]
    await send(async_lanes, "d")
    assert await mail() is True
    assert await ask(room=4) == ["d"]
    assert await ask(room=0) == []
    await send(async_lanes, "e")
    assert await mail() is True


async def test_who_does_not_read_its_mail_gets_none(async_lanes, mail):
    """A consumer in threads is woken as before."""
    await async_lanes.run(exchange("threads", 4))
    await send(async_lanes, "a")
    assert await mail("threads") is True


async def test_the_one_that_waits_for_the_shortest_time_is_served_first(async_lanes, ask, mail):
    """Then the others, one message each."""
    for name in ("first", "second"):
        await ask(name)
        await asyncio.sleep(0.002)
    await send(async_lanes, "a")
    await send(async_lanes, "b")
    assert await mail("second") == "a"
    assert await mail("first") == "b"


async def test_mail_is_the_fairest_message_not_the_newest(async_lanes, ask, mail):
    """What stood in the lanes already goes first."""
    await async_lanes.run(enqueue([message("late", delay=20)]))
    assert await ask() == []
    await asyncio.sleep(0.03)
    await send(async_lanes, "a")
    assert await mail() == "a"  # the other one is still among the delayed
    assert await ask() == ["late"]


async def test_a_cap_holds_for_mail_too(async_lanes, ask, mail):
    """A message under a full cap is set aside, and given to nobody."""
    await async_lanes.run(set_caps({"tenant:shop/acme": 1}, "1"))
    await ask()
    await send(async_lanes, "a")
    assert await mail() == "a"
    await ask("other")
    await send(async_lanes, "b")
    assert await mail("other") is False
    await send(async_lanes, "c", tenant="globex")
    assert await mail("other") == "c"
    assert await ask(outcomes=[acked("a", 0.1)]) == ["b"]


async def test_what_is_in_the_mail_of_a_dead_consumer_goes_to_others(async_lanes, ask, mail):
    """As everything that it held."""
    await ask()
    await send(async_lanes, "a")
    client = async_lanes._client
    await client.zincrby(f"{async_lanes.prefix}:beats", -60_000, "worker")
    await async_lanes.run(beat("other"))
    assert await ask("other") == ["a"]
    assert not await client.exists(f"{async_lanes.prefix}:mail:worker")


async def test_a_silent_consumer_is_given_nothing(async_lanes, ask, mail):
    """It may be dead; the next one that waits is asked."""
    await ask("living")
    await asyncio.sleep(0.002)
    await ask("silent")
    await async_lanes._client.zincrby(f"{async_lanes.prefix}:beats", -4_000, "silent")
    await send(async_lanes, "a")
    assert await mail("living") == "a"
    await send(async_lanes, "b")
    assert await mail("anybody") is True


async def test_who_leaves_hands_its_mail_back(async_lanes, ask, mail):
    """And is given no more."""
    await ask()
    await send(async_lanes, "a")
    assert await async_lanes.run(leave("worker")) == 1
    await send(async_lanes, "b")
    assert await mail("other") is True
    assert await ask("other") == ["a", "b"]


async def test_mail_that_nobody_has_read_is_told_by_the_beat(async_lanes, ask):
    """So that a consumer that never saw it hands it back."""
    await ask()
    await send(async_lanes, "a")
    assert (await async_lanes.run(beat("worker"))).held == {"a"}
    assert await ask(outcomes=[back("a")]) == ["a"]
