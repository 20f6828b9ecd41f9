"""Flow runs over a connection are capped beside all else that runs over it; their branches cost."""

from __future__ import annotations

from runtime.lanes.control import charge, set_caps
from tests.lanes.test_caps import counted, done, fetch, message, no_caps, send

__all__ = ["no_caps"]


def flow(name, connection="c1", tenant="acme"):
    """Return the message of a flow run."""
    return message(name, tenant=tenant, connection=f"flow/{connection}")


def test_flow_runs_are_capped_by_connection(lanes, client):
    """One flow run at a time over each connection; actions over it go on, other connections too."""
    lanes.run(set_caps({"flows@shop": 1}, "1"))
    send(lanes, flow("f1"), flow("f2"), flow("f3", "c2"), message("a1", connection="c1"))
    assert set(fetch(lanes)) == {"f1", "f3", "a1"}
    assert counted(client) == {"flow:c1": 1, "flow:c2": 1}
    assert fetch(lanes, outcomes=done("f1", "a1")) == ["f2"]


def test_a_connections_own_cap_lifts_the_default(lanes):
    """A connection with a cap of its own has that, for its flow runs."""
    lanes.run(set_caps({"flows@shop": 1, "flow:c1": 2}, "1"))
    send(lanes, *(flow(f"f{n}") for n in range(3)))
    assert len(fetch(lanes)) == 2


def test_a_connections_cap_counts_flow_runs_too(lanes):
    """What is capped for a connection is all that runs over it."""
    lanes.run(set_caps({"connection:c1": 2}, "1"))
    send(lanes, flow("f1"), message("a1", connection="c1"), flow("f2"))
    assert len(fetch(lanes)) == 2


def test_work_beside_a_message_is_charged(lanes):
    """A tenant whose flow did more than its slot shows waits for its turn the longer."""
    for name in ("one", "two"):
        send(lanes, *(message(f"{name}-{n}", tenant=name) for n in range(4)))
    assert len(fetch(lanes, room=2)) == 2
    lanes.run(charge("shop", "one", 100.0))
    assert all(each.startswith("two") for each in fetch(lanes, room=3))
