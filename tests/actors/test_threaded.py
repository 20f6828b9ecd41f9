"""A worker on a broker of dramatiq's own, without lanes: the same stamps, claims and records.

The broker is dramatiq's stub, which has the interface that its RabbitMQ broker has.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from runtime.dispatch import Dispatch, Outgoing
from runtime.lanes.client import Lanes, connect
from runtime.lanes.operations import depth
from runtime.rabbitmq import Carrier
from runtime.stamps import MessageStamps
from runtime.tenancy import Owner
from workers.boot import assemble_threaded


@pytest.fixture(scope="module")
async def stub(platform, post):
    """A broker that dramatiq's threads serve."""
    before = dramatiq.get_broker()
    broker, _ = assemble_threaded(
        platform.settings, lambda stack: StubBroker(middleware=stack, fail_fast_default=False)
    )
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=4)
    await asyncio.to_thread(worker.start)
    yield broker
    await asyncio.to_thread(worker.stop)
    broker.close()
    dramatiq.set_broker(before)


@pytest.fixture(scope="module")
async def dispatch(platform, stub):
    """Sends through that broker."""
    async with connect(platform.redis_url) as redis:
        yield Dispatch(redis, MessageStamps(platform.root), Carrier(stub))


def _outgoing(named, queue="default", delay=0.0) -> Outgoing:
    owner = Owner(UUID(named["workspace_id"]), UUID(named["tenant_id"]))
    return Outgoing(UUID(named["run_id"]), owner, named["kind"], queue, delay=delay)


async def test_a_run_is_carried_out_past_the_lanes(platform, post, dispatch, queue):
    """It is claimed, its app is called once under its connection, and its end is on record."""
    named = await post.run(queue=queue)
    assert await dispatch.send([_outgoing(named, queue), _outgoing(named, queue)]) == []
    row = await post.ended(named)
    assert (row["status"], row["attempt"]) == ("completed", 1)
    assert await post.effects(named) == 1
    async with connect(platform.redis_url) as redis:
        assert (await Lanes(redis, queue).run(depth())).total == 0


async def test_a_run_that_is_put_off_comes_again(platform, post, dispatch):
    """A message that comes before its run is due is sent once more, for when it is."""
    named = await post.run()
    (due,) = await platform.rows(
        "UPDATE runs SET due_at = now() + interval '1 second' WHERE id = %s RETURNING due_at",
        named["run_id"],
    )
    await dispatch.send([_outgoing(named)])
    row = await post.ended(named)
    assert row["status"] == "completed"
    assert (due["due_at"] - row["started_at"]).total_seconds() < 0.1


async def test_a_delay_is_kept(post, dispatch):
    """A message that is sent with a delay does not start its run before."""
    named = await post.run()
    await dispatch.send([_outgoing(named, delay=0.5)])
    row = await post.ended(named)
    assert (row["started_at"] - row["created_at"]).total_seconds() >= 0.4


@pytest.mark.parametrize("stamp", [..., "", "v1.forged"])
async def test_an_unstamped_message_is_put_aside(post, stub, stamp):
    """It never executes, and is a dead letter."""
    named = await post.run()
    fields = post.message(named, options={"stamp": stamp})
    await asyncio.to_thread(stub.enqueue, dramatiq.Message(**fields))
    assert (await post.letter(named["run_id"]))["reason"] == "refused"
    await post.assert_untouched(named)


async def test_a_message_of_nobodys_run_is_put_aside(post, dispatch):
    """Its stamp is ours, and its tenant has no such run."""
    named = {**await post.run(), "tenant_id": str(post.owners["globex"]["tenant_id"])}
    await dispatch.send([_outgoing(named)])
    assert (await post.letter(named["run_id"]))["reason"] == "refused"
