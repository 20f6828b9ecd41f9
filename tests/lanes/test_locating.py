"""Where a message is, what it waits for, and which lanes are the longest."""

from __future__ import annotations

import pytest

from runtime.lanes.control import set_caps
from runtime.lanes.inspection import locate, top_lanes
from runtime.lanes.messages import QueuedMessage, acked
from runtime.lanes.operations import depth, enqueue, exchange


@pytest.fixture(autouse=True)
def no_caps(client):
    """Caps are over all queues: begin and end without any."""
    client.flushall()
    yield
    client.flushall()


def send(lanes, *names, tenant="acme", **more):
    lanes.run(enqueue(QueuedMessage(name, "shop", tenant, b"{}", **more) for name in names))


def fetch(lanes, room=10, outcomes=()):
    return [m.message_id for m in lanes.run(exchange("worker", room, outcomes)).messages]


def test_queued(lanes):
    """A queued message tells its place in the lane, and how many tenants come before its own."""
    send(lanes, "a", "b", "c")
    send(lanes, "g", tenant="globex")
    fetch(lanes, 1)
    found = lanes.run(locate("c"))
    assert (found.state, found.position, found.ahead_lanes) == ("queued", 2, 1)
    assert lanes.run(locate("g")).ahead_lanes == 0
    send(lanes, "urgent", priority=5)
    assert lanes.run(locate("urgent")).position == 1
    assert lanes.run(locate("c")).position == 3


def test_held_delayed_and_unknown(lanes):
    """What runs, what is to come later, and what the queue does not have."""
    send(lanes, "a")
    fetch(lanes)
    send(lanes, "later", delay=60_000)
    assert lanes.run(locate("a")).state == "held"
    found = lanes.run(locate("later"))
    assert found.state == "delayed"
    assert 59 < found.due_in <= 60
    assert lanes.run(locate("nowhere")) == ("unknown", None, 0, None, None, None, None)


@pytest.mark.parametrize(
    ("caps", "name"),
    [
        ({"tenant:shop/acme": 1}, "tenant:shop/acme"),
        ({"tenants@shop": 1}, "tenant:shop/acme"),
        ({"workspace:shop": 1}, "workspace:shop"),
        ({"connection:x": 1}, "connection:x"),
        ({"elements@shop": 1}, "element:y"),
    ],
)
def test_capped(lanes, caps, name):
    """A message that a cap holds names it, its limit, and how many run under it."""
    lanes.run(set_caps(caps, "1"))
    send(lanes, "a", "b", "c", connection="x", element="y")
    assert fetch(lanes) == ["a"]
    assert fetch(lanes) == []
    found = lanes.run(locate("c"))
    assert found == ("capped", 2, 0, name, None, 1, 1)
    assert lanes.run(depth())[5] == 2
    fetch(lanes, 0, [acked("a", 0.1)])
    assert lanes.run(locate("b")).state == "queued"
    assert lanes.run(depth()).queued == 2 or lanes.run(depth()).capped == 2


def test_a_paused_workspace_is_capped(lanes):
    """A cap of none counts all that waits as capped, and starts it when it is taken away."""
    lanes.run(set_caps({"workspace:shop": 0}, "1"))
    send(lanes, "a", "b")
    send(lanes, "g", tenant="globex")
    assert fetch(lanes) == []
    assert (lanes.run(depth()).capped, lanes.run(depth()).queued) == (3, 0)
    lanes.run(set_caps({}, "2"))
    assert (lanes.run(depth()).capped, lanes.run(depth()).queued) == (0, 3)
    assert len(fetch(lanes)) == 3


def test_top_lanes(lanes):
    """The longest lanes come first, with what their tenants hold and how far they are ahead."""
    send(lanes, *(f"a{n}" for n in range(9)))
    send(lanes, *(f"g{n}" for n in range(5)), tenant="globex")
    send(lanes, "i", tenant="initech")
    fetch(lanes, 0, [acked(fetch(lanes, 1)[0], 60.0)])
    fetch(lanes, 2)
    first, second = lanes.run(top_lanes(2))
    assert (first.tenant, first.queued, first.held) == ("acme", 8, 0)
    assert (second.tenant, second.queued, second.held) == ("globex", 4, 1)
    assert first.debt_seconds > 50
    assert {lane.debt_seconds for lane in lanes.run(top_lanes(3))} <= {0.0, 60.0}
    assert {lane.tenant for lane in lanes.run(top_lanes(9))} == {"acme", "globex", "initech"}


def test_questions_change_nothing(lanes, client):
    """Asking leaves every key as it was, also in a server that knows nothing."""
    lanes.run(set_caps({"connection:x": 1}, "1"))
    send(lanes, "a", "b", connection="x")
    fetch(lanes)
    before = {key: client.dump(key) for key in client.scan_iter()}
    for name in ("a", "b", "nowhere"):
        lanes.run(locate(name))
    lanes.run(top_lanes(5))
    lanes.run(depth())
    assert {key: client.dump(key) for key in client.scan_iter()} == before
    client.flushall()
    assert lanes.run(top_lanes(5)) == []
    assert lanes.run(depth()) == (0, 0, 0, 0, 0, 0, 0)
