"""Caps leak nothing: not when all is done, when memory is lost, or when work comes at random."""

from __future__ import annotations

import random

import pytest

from runtime.lanes.client import BlockingLanes
from runtime.lanes.control import cap_version, set_caps
from runtime.lanes.messages import QueuedMessage, acked, back, retried
from runtime.lanes.operations import beat, depth, enqueue, exchange


@pytest.fixture(autouse=True)
def no_caps(client):
    """Caps are over all queues: begin and end without any."""
    client.flushall()
    yield
    client.flushall()


def message(name, tenant="acme", **more):
    return QueuedMessage(name, "shop", tenant, b"{}", **more)


def send(lanes, *messages):
    lanes.run(enqueue(messages))


def fetch(lanes, room=10, outcomes=(), consumer="worker"):
    return [m.message_id for m in lanes.run(exchange(consumer, room, outcomes)).messages]


def done(*names):
    return [acked(name, 0.1) for name in names]


def counted(client):
    """Return what is written down as held, over all queues."""
    return {name.decode(): int(n) for name, n in client.hgetall("{vesicle}:running").items()}


def test_nothing_is_kept_without_need(lanes, client):
    """When all is done, no number and no list of what was stopped is left."""
    lanes.run(set_caps({"connections@shop": 1, "tenants@shop": 2, "workspace:shop": 3}, "1"))
    send(
        lanes,
        *(message(f"{t}{n}", f"t{t}", connection=f"c{t}") for t in range(4) for n in range(5)),
    )
    held = fetch(lanes)
    for _ in range(40):
        held = fetch(lanes, 10, done(*held))
    assert lanes.run(depth())[:3] == (0, 0, 0)
    left = {key.decode() for key in client.scan_iter()}
    assert not [name for name in left if "parked" in name or "aside" in name or "stopped" in name]
    assert "{vesicle}:running" not in left
    assert "{vesicle}:holding" not in left


def test_forgetting_at_any_moment(lanes, client):
    """FLUSHALL in the middle, or a lost key, breaks nothing: what is sent anew is served."""
    caps = set_caps({"connections@shop": 1, "tenants@shop": 2}, "1")
    shared = ["caps", "running", "holding", "stopped", "queues"]
    own = ["parked", "parked:lanes", "delayed:lanes", "aside:shop\x1facme", "ready", "deep"]
    for lost in ["", *shared, *own]:
        client.flushall()
        lanes.run(caps)
        send(lanes, *(message(str(n), connection="c") for n in range(4)))
        assert fetch(lanes) == ["0"]
        if lost == "":
            client.flushall()
        else:
            client.delete(f"{{vesicle}}:{lost}" if lost in shared else f"{lanes.prefix}:{lost}")
        fetch(lanes, 10, done("0"))
        lanes.run(beat("worker"))
        lanes.run(depth())
        send(lanes, message("new", "globex"))
        assert "new" in fetch(lanes)
    assert lanes.run(cap_version()) is None or lanes.run(cap_version()) == "1"


def test_random_work_never_exceeds_a_cap_and_never_stalls(lanes, client, queue):
    """Two hundred random messages in two queues: bounds hold at every step, and all get done."""
    chance = random.Random(7)
    both = [lanes, BlockingLanes(client, f"{queue}-other")]
    limits = {"workspace:shop": 7, "tenants@shop": 4, "connections@shop": 2, "element:e0": 1}
    lanes.run(set_caps(limits, "1"))
    for n in range(200):
        send(
            chance.choice(both),
            message(
                str(n),
                f"t{chance.randrange(3)}",
                priority=chance.randrange(-2, 3),
                connection=chance.choice(["", "c0", "c1", "c2"]),
                element=chance.choice(["", "e0", "e1"]),
            ),
        )
    held = {0: {}, 1: {}}
    finished = 0
    for step in range(5000):
        side = chance.randrange(2)
        ending = chance.sample(sorted(held[side]), min(len(held[side]), chance.randrange(4)))
        outcomes = []
        for name in ending:
            kind = chance.random()
            finished += kind < 0.7
            outcomes.append(
                acked(name, 0.01)
                if kind < 0.7
                else back(name)
                if kind < 0.85
                else retried(name, 0.01, 0)
            )
            del held[side][name]
        batch = both[side].run(exchange(f"w{side}", chance.randrange(6), outcomes))
        held[side] |= {m.message_id: m for m in batch.messages}
        running = [m for one in held.values() for m in one.values()]
        assert len(running) <= 7
        for subject, most in (("tenant", 4), ("connection", 2)):
            names = {getattr(m, subject) for m in running} - {""}
            assert all(sum(getattr(m, subject) == n for m in running) <= most for n in names)
        assert sum(m.element == "e0" for m in running) <= 1
        if finished == 200:
            break
        if step == 300:
            lanes.run(set_caps(limits, "2"))
    assert finished == 200
    assert counted(client) == {}
