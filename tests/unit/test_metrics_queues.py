"""The scheduler shows how deep queues are, and on request in whose lanes."""

from __future__ import annotations

import pytest
import redis
from prometheus_client import REGISTRY

from runtime.errors import BadRequestError
from runtime.lanes.client import Lanes, connect
from runtime.lanes.messages import QueuedMessage, dead
from runtime.lanes.operations import enqueue, exchange
from scheduler.metrics import QueueWatch
from tests.lanes.conftest import client, redis_url, valkey  # noqa: F401 - fixtures


@pytest.fixture
async def bulk(client, redis_url):  # noqa: F811 - the fixtures
    """The queue `bulk` with 5 runs of acme's and 2 of globex's; 1 is held, 1 dead, 1 delayed."""
    client.flushall()
    asked = connect(redis_url)
    lanes = Lanes(asked, "bulk")
    await lanes.run(
        enqueue(
            [
                QueuedMessage(f"{tenant}-{number}", "shop", tenant, b"{}", delay)
                for tenant, number, delay in [
                    *(("acme", number, 0) for number in range(5)),
                    ("globex", 0, 0),
                    ("globex", 1, 60_000),
                ]
            ]
        )
    )
    (first,) = (await lanes.run(exchange("worker", 1))).messages
    await lanes.run(exchange("worker", 1, [dead(first.message_id, 0.1, "bad")]))
    yield asked
    await asked.aclose()


def _depth(state, queue="bulk"):
    return REGISTRY.get_sample_value("vesicle_queue_messages", {"queue": queue, "state": state})


async def test_depth_by_state(bulk):
    """Each state of each queue has its number; a queue without messages shows zero."""
    await QueueWatch(bulk).measure()
    found = {state: _depth(state) for state in ("queued", "capped", "delayed", "held", "dead")}
    assert found == {"queued": 4, "capped": 0, "delayed": 1, "held": 1, "dead": 1}
    assert _depth("queued", "sync") == 0
    assert REGISTRY.get_sample_value("vesicle_queue_consumers", {"queue": "bulk"}) == 1


async def test_a_lost_server_shows_nothing(bulk):
    """When the queues cannot be asked, their old numbers go and the duty fails loudly."""
    await QueueWatch(bulk).measure()
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        with pytest.raises(redis.ConnectionError):
            await QueueWatch(nowhere).measure()
    assert _depth("queued") is None


async def test_the_longest_lanes(bulk):
    """The page names the longest lanes of each queue with what they hold and owe, no more."""
    watch = QueueWatch(bulk)
    lines = (await watch.top_tenants({"top": "1"})).decode().splitlines()
    of = '{queue="bulk",tenant="acme",workspace="shop"}'
    (queued,) = [line for line in lines if line.startswith("vesicle_lane_queued{")]
    assert queued.startswith(f"vesicle_lane_queued{of}")
    assert any(line.startswith(f"vesicle_lane_debt_seconds{of}") for line in lines)
    assert any(line.startswith("vesicle_tenant_held{") and line.endswith(" 1.0") for line in lines)
    everybody = (await watch.top_tenants({})).decode()
    assert 'tenant="globex"' in everybody


@pytest.mark.parametrize("top", ["0", "1001", "-1", "x", "", "1e2", "9" * 400, "٣"])
async def test_a_bad_number_is_refused(bulk, top):
    """`top` is a number from 1 to 1000."""
    with pytest.raises(BadRequestError):
        await QueueWatch(bulk).top_tenants({"top": top})
