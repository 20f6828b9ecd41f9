"""Caps bound what is held at once over all queues; what they hold back costs nobody else a slot."""

from __future__ import annotations

import pytest

from runtime.lanes.client import BlockingLanes
from runtime.lanes.control import cap_version, set_caps
from runtime.lanes.messages import QueuedMessage, acked, back, dead, retried
from runtime.lanes.operations import beat, depth, enqueue, exchange, leave, remove


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


@pytest.mark.parametrize("name", ["tenant:shop/acme", "tenants@shop", "workspace:shop"])
def test_a_lane_stops_at_its_cap(lanes, name):
    """Of five messages two begin; each that ends lets the next begin, in order."""
    lanes.run(set_caps({name: 2}, "1"))
    send(lanes, *(message(str(n)) for n in range(5)))
    assert fetch(lanes) == ["0", "1"]
    assert fetch(lanes) == []
    assert fetch(lanes, 10, done("0")) == ["2"]
    assert fetch(lanes, 10, done("1", "2")) == ["3", "4"]
    assert fetch(lanes, 10, done("3", "4")) == []
    assert lanes.run(depth()).total == 0


def test_a_capped_tenant_holds_up_nobody(lanes):
    """While one tenant stands at its cap another gets all the slots there are."""
    lanes.run(set_caps({"tenant:shop/acme": 1}, "1"))
    send(lanes, *(message(f"a{n}") for n in range(50)))
    send(lanes, *(message(f"g{n}", "globex") for n in range(20)))
    assert sorted(fetch(lanes, 30)) == sorted(["a0", *(f"g{n}" for n in range(20))])


def test_a_capped_workspace_holds_up_no_other(lanes):
    """A workspace at its cap is passed over, whichever of its tenants wait."""
    lanes.run(set_caps({"workspace:shop": 2}, "1"))
    send(lanes, *(message(str(n), f"tenant{n}") for n in range(5)))
    send(lanes, *(QueuedMessage(f"m{n}", "mill", "acme", b"{}") for n in range(3)))
    first = fetch(lanes)
    assert sorted(first)[2:] == ["m0", "m1", "m2"]
    ours = [name for name in first if not name.startswith("m")]
    assert len(fetch(lanes, 10, done(*ours))) == 2


def test_the_specific_cap_wins(lanes):
    """A tenant's own cap replaces the workspace's default, a lifted one too."""
    lanes.run(set_caps({"tenants@shop": 1, "tenant:shop/acme": 3, "tenant:shop/g": 2**31}, "1"))
    for tenant in ("acme", "g", "initech"):
        send(lanes, *(message(f"{tenant}{n}", tenant) for n in range(5)))
    got = fetch(lanes, 20)
    assert [sum(n.startswith(t) for n in got) for t in ("acme", "g", "initech")] == [3, 5, 1]


@pytest.mark.parametrize("subject", ["connection", "element"])
def test_a_capped_subject_lets_the_rest_of_its_lane_pass(lanes, subject):
    """What is under a full cap stands aside; when one ends the next comes, in its order."""
    lanes.run(set_caps({f"{subject}s@shop": 1}, "1"))
    for n in range(4):
        send(lanes, message(f"x{n}", **{subject: "x"}))
    send(lanes, message("free"), message("y", **{subject: "y"}))
    assert fetch(lanes) == ["x0", "free", "y"]
    send(lanes, message("x4", **{subject: "x"}))
    assert fetch(lanes) == []
    assert lanes.run(depth()).capped == 4
    for n in range(4):
        assert fetch(lanes, 10, done(f"x{n}")) == [f"x{n + 1}"]
    assert lanes.run(depth()).capped == 0


def test_one_cap_over_two_queues(lanes, client, queue):
    """A cap counts over all queues, and an end in one of them wakes the other."""
    other = BlockingLanes(client, f"{queue}-other")
    lanes.run(set_caps({"connection:c": 1, "tenant:shop/globex": 1}, "1"))
    for one, names in ((lanes, "ab"), (other, "cd")):
        send(one, message(names[0], connection="c"), message(names[1], "globex"))
    assert sorted(fetch(lanes)) == ["a", "b"]
    assert fetch(other) == []
    assert other.wait(0.01)
    assert not other.wait(0.01)
    fetch(lanes, 0, done("a", "b"))
    assert other.wait(1)
    assert sorted(fetch(other)) == ["c", "d"]


def test_two_caps_over_one_message(lanes):
    """A message goes only if both its caps have room, and what one holds never blocks the other."""
    lanes.run(set_caps({"connection:c": 1, "element:paused": 0}, "1"))
    send(
        lanes,
        message("0", connection="c"),
        message("1", connection="c", element="paused"),
        message("2", connection="c"),
        message("3", connection="c"),
    )
    assert fetch(lanes) == ["0"]
    assert fetch(lanes, 10, done("0")) == ["2"]
    assert fetch(lanes, 10, done("2")) == ["3"]
    lanes.run(set_caps({"connection:c": 1}, "2"))
    assert fetch(lanes, 10, done("3")) == ["1"]


def test_caps_change_live(lanes):
    """Raising and removing lets go on what was held back, and wakes; lowering interrupts nobody."""
    lanes.run(set_caps({"tenant:shop/acme": 1, "connection:c": 0}, "1"))
    assert lanes.run(cap_version()) == "1"
    send(lanes, *(message(str(n)) for n in range(5)))
    send(lanes, *(message(f"c{n}", "globex", connection="c") for n in range(2)))
    assert fetch(lanes) == ["0"]
    while lanes.wait(0.01):
        pass
    lanes.run(set_caps({"tenant:shop/acme": 3, "connection:c": 1}, "2"))
    assert lanes.wait(1)
    assert sorted(fetch(lanes)) == ["1", "2", "c0"]
    lanes.run(set_caps({"tenant:shop/acme": 1}, "3"))
    assert fetch(lanes, 10, done("0", "1")) == ["c1"]
    assert fetch(lanes, 10, done("2")) == ["3"]
    lanes.run(set_caps({}, "4"))
    assert fetch(lanes) == ["4"]
    assert lanes.run(cap_version()) == "4"


def test_a_cap_counts_what_was_held_before_it(lanes):
    """A cap that comes while three messages run lets no fourth begin before two have ended."""
    send(lanes, *(message(str(n), connection="c") for n in range(6)))
    assert fetch(lanes, 3) == ["0", "1", "2"]
    lanes.run(set_caps({"connection:c": 2}, "1"))
    assert fetch(lanes, 3, done("0")) == []
    assert fetch(lanes, 3, done("1")) == ["3"]


@pytest.mark.parametrize(
    "end",
    [
        lambda name: acked(name, 0.1),
        lambda name: dead(name, 0.1, "no"),
        lambda name: retried(name, 0.1, 60_000),
    ],
)
def test_every_end_gives_its_place_back_once(lanes, client, end):
    """Done, dead or to be retried: the number falls once, however often it is told."""
    lanes.run(set_caps({"connection:c": 2, "tenant:shop/acme": 9, "workspace:shop": 9}, "1"))
    send(lanes, *(message(str(n), connection="c") for n in range(4)))
    assert fetch(lanes, 10) == ["0", "1"]
    for _ in range(3):
        fetch(lanes, 0, [end("0"), end("0")])
    assert counted(client)["connection:c"] == 1
    assert fetch(lanes, 10) == ["2"]
    fetch(lanes, 10, [end("1"), end("2")])
    fetch(lanes, 0, [end("3")])
    assert counted(client) == {}


def test_handed_back_counts_no_more(lanes, client):
    """What is handed back leaves its place to itself: it is the next again."""
    lanes.run(set_caps({"connection:c": 1}, "1"))
    send(lanes, *(message(str(n), connection="c") for n in range(3)))
    assert fetch(lanes) == ["0"]
    assert fetch(lanes) == []
    assert fetch(lanes, 10, [back("0")]) == ["0"]
    assert fetch(lanes, 10, [back("0")]) == ["0"]
    assert counted(client) == {"connection:c": 1}


def test_a_dead_consumer_gives_its_places_back(lanes, client):
    """The caps of a consumer that fell silent, or left, are free for the next one."""
    lanes.run(set_caps({"connection:c": 1, "tenant:shop/globex": 1}, "1"))
    send(lanes, *(message(str(n), connection="c") for n in range(3)), message("g", "globex"))
    assert sorted(fetch(lanes, consumer="doomed")) == ["0", "g"]
    lanes.run(beat("doomed"))
    client.zincrby(f"{lanes.prefix}:beats", -3_600_000, "doomed")
    lanes.run(beat("other"))
    assert counted(client) == {}
    assert sorted(fetch(lanes, consumer="other")) == ["0", "g"]
    lanes.run(leave("other"))
    assert counted(client) == {}
    assert fetch(lanes, 10, done("0", "g"), consumer="doomed") == ["1"]


def test_what_is_held_back_can_be_withdrawn(lanes):
    """A parked message is withdrawn like any other, and the one behind it takes its turn."""
    lanes.run(set_caps({"connection:c": 1}, "1"))
    send(lanes, *(message(str(n), connection="c") for n in range(4)))
    assert fetch(lanes) == ["0"]
    assert fetch(lanes) == []
    assert lanes.run(remove("1"))
    assert not lanes.run(remove("1"))
    assert lanes.run(enqueue([message("2", connection="c")])) == (0, [])
    assert fetch(lanes, 10, done("0")) == ["2"]
    assert lanes.run(depth()).total == 2


def test_a_whole_head_under_a_full_cap(lanes):
    """A thousand messages that must wait do not keep the one behind them from being found."""
    lanes.run(set_caps({"connection:c": 0}, "1"))
    send(lanes, *(message(f"c{n}", connection="c") for n in range(999)))
    send(lanes, message("free"))
    while not (got := fetch(lanes, 1)):
        assert lanes.wait(1)
    assert got == ["free"]
