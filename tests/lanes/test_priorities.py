"""Priority is an order inside a tenant's lane, and nothing to anybody else."""

from __future__ import annotations

import pytest

from runtime.lanes.messages import QueuedMessage, back, retried
from runtime.lanes.operations import enqueue, exchange, lane_depth


def send(lanes, *names_and_priorities, tenant="acme"):
    lanes.run(
        enqueue(
            QueuedMessage(name, "shop", tenant, b"{}", priority=priority)
            for name, priority in names_and_priorities
        )
    )


def fetch(lanes, room=10, outcomes=()):
    return [m.message_id for m in lanes.run(exchange("worker", room, outcomes)).messages]


def test_the_higher_runs_first(lanes):
    """The highest priority is served first, the lowest last, each in the order of its sending."""
    send(lanes, ("low", -9), ("a", 0), ("b", 0))
    send(lanes, ("high", 9), ("one", 1), ("minus", -1), ("c", 0), ("high2", 9))
    assert fetch(lanes) == ["high", "high2", "one", "a", "b", "c", "minus", "low"]


def test_order_within_a_priority_is_exact(lanes):
    """A thousand messages of one priority, at either end of the scale, keep their order."""
    for priority in (9, -9):
        names = [f"{priority}:{n:04}" for n in range(1000)]
        send(lanes, *((name, priority) for name in names))
        assert fetch(lanes, 1000) == names


def test_handed_back_keeps_its_place(lanes):
    """A message that is handed back stands before those that came after, behind higher ones."""
    send(lanes, *((str(n), 3) for n in range(4)), ("high", 5))
    assert fetch(lanes, 3) == ["high", "0", "1"]
    assert fetch(lanes, 10, [back("1"), back("high"), back("0")]) == ["high", "0", "1", "2", "3"]


def test_retried_keeps_its_priority(lanes, client):
    """After a delay a message is again served before those of a lower priority."""
    send(lanes, ("high", 2))
    assert fetch(lanes) == ["high"]
    fetch(lanes, 0, [retried("high", 0.1, 60_000)])
    send(lanes, ("a", 0))
    client.zadd(f"{lanes.prefix}:delayed", {"high": client.time()[0] * 1000 - 1000})
    assert fetch(lanes) == ["high", "a"]


def test_other_tenants_do_not_feel_it(lanes):
    """A tenant that sends everything with the highest priority still only takes its turns."""
    send(lanes, *((f"a{n}", 9) for n in range(4)))
    send(lanes, *((f"g{n}", -9) for n in range(4)), tenant="globex")
    assert [name[0] for name in fetch(lanes, 8)] == ["a", "g"] * 4


@pytest.mark.parametrize("priority", [-9, 0, 9])
def test_waiting_is_told_in_seconds(lanes, priority):
    """How long the first has waited does not depend on its priority."""
    send(lanes, ("a", priority))
    assert 0 <= lanes.run(lane_depth("shop", "acme")).waited < 5


def test_what_is_no_priority(lanes):
    """A priority beyond nine is refused before it is sent."""
    for priority in (10, -10):
        with pytest.raises(ValueError, match="Priorities"):
            send(lanes, ("a", priority))
