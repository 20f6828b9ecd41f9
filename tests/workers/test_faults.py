"""What the loop consumer does when Redis is away, forgets everything, or answers into the void."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from dramatiq.errors import ConnectionClosed

from runtime.lanes.client import BlockingLanes
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import depth, enqueue
from tests.waiting import eventually
from tests.workers.faulty_proxy import faulty_proxy


@pytest.fixture
async def proxy(valkey):
    async with faulty_proxy(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def proxied(make_bench, proxy, valkey):
    """A bench whose every connection passes the proxy."""
    direct = make_bench()
    bench = make_bench(valkey.through(proxy.port))
    bench.queue, bench.lanes = direct.queue, direct.lanes
    return bench


async def test_lost_answers_heal(proxied, proxy):
    """Messages whose fetch was answered into the void are run, once each."""
    ran = Counter()

    async def note(n):
        ran[n] += 1

    actor = proxied.actor(note)
    async with proxied.consuming() as consumer:
        await eventually(lambda: consumer.ready)
        proxy.lose = b'"actor_name"'
        messages = [actor.message(n) for n in range(5)]
        proxied.lanes.run(enqueue([_queued(message) for message in messages]))
        await eventually(lambda: proxy.lose is None)
        assert proxied.depth().total > 0
        await eventually(lambda: not proxied.depth().total)
    assert ran == dict.fromkeys(range(5), 1)


async def test_redis_away_while_messages_run(proxied, proxy):
    """Running messages go on while Redis is away, and are acknowledged when it is back."""
    release = asyncio.Event()
    ended = []

    async def hold(n):
        await release.wait()
        ended.append(n)

    actor = proxied.actor(hold)
    for n in range(3):
        proxied.lanes.run(enqueue([_queued(actor.message(n))]))
    async with proxied.consuming() as consumer:
        await eventually(lambda: consumer.in_flight == 3)
        await proxy.cut()
        release.set()
        await eventually(lambda: len(ended) == 3 and not consumer.ready)
        assert proxied.depth().held == 3
        await proxy.open()
        await eventually(lambda: not proxied.depth().total)
        await eventually(lambda: consumer.ready)
    assert sorted(ended) == [0, 1, 2]


async def test_flushed_under_a_running_consumer(bench, client):
    """After FLUSHALL what runs ends, and what is sent again is run: nothing is stuck."""
    release = asyncio.Event()
    ran = Counter()

    async def hold(n):
        ran[n] += 1
        await release.wait()

    actor = bench.actor(hold)
    messages = [actor.send(n) for n in range(4)]
    async with bench.consuming(slots=3) as consumer:
        await eventually(lambda: consumer.in_flight == 3)
        client.flushall()
        client.script_flush()
        for message in messages:
            bench.broker.enqueue(message)
        release.set()
        await eventually(lambda: not bench.depth().total and not consumer.in_flight)
        actor.send(4)
        await eventually(lambda: ran[4])
    assert set(ran) == set(range(5))


async def test_a_queue_of_the_wrong_type(bench, client):
    """Keys that somebody overwrote are an error that is waited out, not the consumer's end."""
    ran = []

    async def note(n):
        ran.append(n)

    actor = bench.actor(note)
    key = f"{bench.lanes.prefix}:ready"
    async with bench.consuming() as consumer:
        await eventually(lambda: consumer.ready)
        client.set(key, "nonsense")
        with pytest.raises(Exception, match="WRONGTYPE"):
            actor.send(1)
        await eventually(lambda: not consumer.ready)
        client.delete(key)
        actor.send(2)
        await eventually(lambda: 2 in ran)


async def test_too_few_replicas(bench, client):
    """A server that misses its replicas takes no writes; when it does again, all goes on."""
    release = asyncio.Event()
    ran = Counter()

    async def hold(n):
        ran[n] += 1
        await release.wait()

    actor = bench.actor(hold)
    async with bench.consuming() as consumer:
        actor.send(1)
        await eventually(lambda: ran[1])
        client.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(ConnectionClosed, match="NOREPLICAS"):
                actor.send(2)
            release.set()
            await eventually(lambda: not consumer.ready)
        finally:
            client.config_set("min-replicas-to-write", 0)
        actor.send(3)
        await eventually(lambda: ran[3] and not bench.depth().total)
        await eventually(lambda: consumer.ready)
    assert ran == {1: 1, 3: 1}


async def test_a_failover(make_bench, start_server):
    """When another server becomes the primary, all go there, though nobody ends their connections.

    Who is connected to the old primary, a replica now, leaves it by themselves.
    """
    old, new = start_server(), start_server()
    ran = Counter()

    async def note(n):
        ran[n] += 1

    with old.administrator() as old_admin, new.administrator() as new_admin:
        _replicate(new_admin, old.port)
        async with faulty_proxy(old.port) as address:
            bench = make_bench(old.through(address.port))
            actor = bench.actor(note)
            async with bench.consuming() as consumer:
                await asyncio.to_thread(actor.send, 1)
                await eventually(lambda: ran[1])
                await eventually(lambda: _link(new_admin) == "up")
                new_admin.replicaof("NO", "ONE")
                _replicate(old_admin, new.port)
                address.upstream = new.port
                for n in range(2, 6):
                    await asyncio.to_thread(actor.send, n)
                await eventually(lambda: len(ran) == 5 and consumer.ready)
                left = BlockingLanes(new_admin, bench.queue)
                await eventually(lambda: not left.run(depth()).total)
    assert ran == dict.fromkeys(range(1, 6), 1)


def _replicate(administrator, port):
    administrator.config_set("masterauth", "secret")
    administrator.replicaof("127.0.0.1", port)


def _link(administrator):
    return administrator.info("replication")["master_link_status"]


def _queued(message):
    return QueuedMessage(message.message_id, "shop", "acme", message.encode())
