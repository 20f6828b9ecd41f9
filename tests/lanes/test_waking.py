"""Consumers sleep until there is work, and no longer."""

from __future__ import annotations

import asyncio
import statistics
import time

from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import depth, enqueue, exchange, wake


def message(name, delay=0):
    return QueuedMessage(name, "shop", "acme", b"{}", delay)


async def test_an_enqueue_wakes(async_lanes):
    """A blocked consumer hears of a message within milliseconds."""
    waits = []
    for n in range(20):
        sleeper = asyncio.create_task(async_lanes.wait(4, "idle"))
        while not (await async_lanes._client.info("clients"))["blocked_clients"]:
            pass
        started = time.perf_counter()
        await async_lanes.run(enqueue([message(str(n))]))
        assert await sleeper
        waits.append(time.perf_counter() - started)
    assert statistics.median(waits) < 0.02


async def test_one_token_is_enough(async_lanes):
    """A thousand messages leave one token, and a fetch that leaves messages leaves another."""
    await async_lanes.run(enqueue([message(str(n)) for n in range(1000)]))
    await async_lanes.run(enqueue([message("more")]))
    assert await async_lanes.wait(1, "idle")
    assert not await async_lanes.wait(0.01, "idle")
    assert len((await async_lanes.run(exchange("worker", 999))).messages) == 999
    assert await async_lanes.wait(1, "idle")
    assert len((await async_lanes.run(exchange("worker", 999))).messages) == 2
    assert not await async_lanes.wait(0.01, "idle")


async def test_a_token_can_be_passed_on(async_lanes):
    """Who was woken without having room wakes the next."""
    await async_lanes.run(wake())
    await async_lanes.run(wake())
    assert await async_lanes.wait(1, "idle")
    assert not await async_lanes.wait(0.01, "idle")


async def test_an_earlier_delay_wakes(async_lanes):
    """A message that is due before all others wakes somebody, a later one nobody."""
    await async_lanes.run(enqueue([message("late", 60_000)]))
    assert await async_lanes.wait(1, "idle")
    await async_lanes.run(enqueue([message("later", 90_000)]))
    assert not await async_lanes.wait(0.01, "idle")
    await async_lanes.run(enqueue([message("sooner", 30_000)]))
    assert await async_lanes.wait(1, "idle")
    assert (await async_lanes.run(depth())).delayed == 3
