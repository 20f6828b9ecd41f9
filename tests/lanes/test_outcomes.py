"""How a message gets in, how it ends, and that each step happens once."""

from __future__ import annotations

import time

import pytest

from runtime.lanes.messages import QueuedMessage, acked, back, dead, retried
from runtime.lanes.operations import (
    BATCH_LIMIT,
    beat,
    dead_letters,
    depth,
    enqueue,
    exchange,
    lane_depth,
    leave,
    remove,
    weigh,
)


def message(name, tenant="acme", delay=0, payload=b"{}"):
    return QueuedMessage(name, "shop", tenant, payload, delay)


def fetch(lanes, room=10, outcomes=(), consumer="worker"):
    batch = lanes.run(exchange(consumer, room, outcomes))
    return [got.message_id for got in batch.messages]


def test_sending_twice_is_sending_once(lanes):
    """A known id is ignored while it is queued, while it is held, and while it is delayed."""
    assert lanes.run(enqueue([message("a"), message("b", delay=60_000)])) == (2, [])
    assert lanes.run(enqueue([message("a"), message("b")])) == (0, [])
    assert fetch(lanes) == ["a"]
    assert lanes.run(enqueue([message("a")])) == (0, [])
    assert lanes.run(depth()).total == 2


def test_payload_comes_back_as_it_went(lanes):
    """Any bytes survive, those that separate our own fields too."""
    payload = bytes(range(256)) * 4
    lanes.run(enqueue([message("a", payload=payload)]))
    assert lanes.run(exchange("worker", 1)).messages == [message("a", payload=payload)]


def test_done_is_gone(lanes, client):
    """After the last acknowledgement no key of the messages is left, only the shares' books."""
    lanes.run(enqueue([message(str(n)) for n in range(5)]))
    fetch(lanes, 0, [acked(name, 0.1) for name in fetch(lanes)])
    names = {key.decode().removeprefix(lanes.prefix) for key in client.scan_iter()}
    assert not names & {":messages", ":held:worker", ":lane:shop\x1facme", ":tries", ":delayed"}


def test_delayed_message_waits_in_the_server(lanes):
    """A delayed message is not given out before its time, and the fetch says when that is."""
    lanes.run(enqueue([message("a", delay=150)]))
    sent = time.monotonic()
    batch = lanes.run(exchange("worker", 1))
    assert batch.messages == []
    assert 0 < batch.next_due <= 0.15
    while not fetch(lanes):
        assert time.monotonic() - sent < 5
    assert 0.14 <= time.monotonic() - sent < 0.35


def test_retry_is_one_step(lanes):
    """A retried message is delayed from the moment in which it is no longer held."""
    lanes.run(enqueue([message("a")]))
    fetch(lanes)
    assert fetch(lanes, 1, [retried("a", 0.1, 60_000)]) == []
    counted = lanes.run(depth())
    assert (counted.held, counted.delayed, counted.total) == (0, 1, 1)


def test_trouble_backs_off(lanes, client):
    """Without a delay the wait doubles from half a second, up to a minute."""
    lanes.run(enqueue([message("a")]))
    waits = []
    for _ in range(10):
        fetch(lanes)
        fetch(lanes, 0, [retried("a", 0.0)])
        seconds, micros = client.time()
        due = client.zscore(f"{lanes.prefix}:delayed", "a")
        waits.append((due - seconds * 1000 - micros / 1000) / 1000)
        client.zadd(f"{lanes.prefix}:delayed", {"a": 1})
    expected = [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits == [pytest.approx(seconds, abs=0.1) for seconds in expected]


def test_handed_back_keeps_its_place(lanes):
    """What is handed back, whatever the order, stands again before what was sent after it."""
    lanes.run(enqueue([message(str(n)) for n in range(6)]))
    assert fetch(lanes, 3) == ["0", "1", "2"]
    fetch(lanes, 0, [back("2"), back("0"), back("1")])
    assert fetch(lanes, 6) == ["0", "1", "2", "3", "4", "5"]


def test_dead_letters_are_kept_with_their_reason(lanes):
    """A dead message leaves the queue and can be read with its lane, payload and reason."""
    lanes.run(enqueue([message("a", payload=b"broken"), message("b")]))
    fetch(lanes)
    fetch(lanes, 0, [dead("a", 0.1, "stamp refused"), acked("b", 0.1)])
    (letter,) = lanes.run(dead_letters())
    assert (letter.message, letter.reason) == (message("a", payload=b"broken"), "stamp refused")
    assert abs(letter.died_at / 1000 - time.time()) < 60
    assert lanes.run(depth()).total == 0


def test_dead_letters_are_bounded(lanes):
    """Of eleven thousand dead letters the newest ten thousand stay."""
    for start in range(0, 11_000, BATCH_LIMIT):
        names = [str(n) for n in range(start, start + BATCH_LIMIT)]
        lanes.run(enqueue([message(name) for name in names]))
        fetch(lanes, BATCH_LIMIT)
        fetch(lanes, 0, [dead(name, 0.0, "no") for name in names])
    assert lanes.run(depth()).dead == 10_000
    assert int(lanes.run(dead_letters(1))[0].message.message_id) >= 10_000


def test_withdrawing(lanes):
    """A queued or delayed message can be withdrawn, a held or unknown one cannot."""
    lanes.run(enqueue([message("held")]))
    fetch(lanes)
    lanes.run(enqueue([message("queued"), message("delayed", delay=60_000)]))
    names = ["queued", "delayed", "held", "unknown", "queued"]
    assert [lanes.run(remove(name)) for name in names] == [True, True, False, False, False]
    assert fetch(lanes) == []
    assert lanes.run(depth()).total == 1


def test_late_acknowledgement(lanes):
    """A consumer thought dead that did finish: its message is done if nobody else began it."""
    lanes.run(enqueue([message("a"), message("b")]))
    fetch(lanes, consumer="slow")
    lanes.run(leave("slow"))
    assert fetch(lanes, 1, consumer="quick") == ["a"]
    fetch(lanes, 0, [acked("a", 1), acked("b", 1), retried("a", 1, 0)], consumer="slow")
    assert lanes.run(beat("quick")).held == {"a"}
    assert fetch(lanes, consumer="quick") == []


def test_an_outcome_counts_once(lanes):
    """An outcome told again after a lost answer changes nothing."""
    lanes.run(enqueue([message("a"), message("b"), message("c")]))
    fetch(lanes)
    outcomes = [acked("a", 1), retried("b", 1, 60_000), dead("c", 1, "no")]
    for _ in range(3):
        fetch(lanes, 0, outcomes)
    counted = lanes.run(depth())
    assert (counted.total, counted.delayed, counted.dead) == (1, 1, 1)


def test_lane_depth(lanes):
    """A lane tells how many wait in it and for how long the first of them has."""
    assert lanes.run(lane_depth("shop", "acme")) == (0, None, 0, 0, False)
    lanes.run(enqueue([message("a"), message("b"), message("c", tenant="globex")]))
    queued, waited, *_ = lanes.run(lane_depth("shop", "acme"))
    assert queued == 2
    assert 0 <= waited < 5


def test_refuses_what_it_cannot_keep(lanes):
    """Too many messages at once, a lane's name with our separator, a weight of nothing."""
    with pytest.raises(ValueError, match="At most"):
        enqueue([message(str(n)) for n in range(BATCH_LIMIT + 1)])
    with pytest.raises(ValueError, match="separator"):
        enqueue([message("a", tenant="ac\x1fme")])
    with pytest.raises(ValueError, match="positive"):
        weigh("shop", None, 0)


def test_garbage_put_straight_into_the_server(lanes, client):
    """A record that we did not write is given out as it is; an id without a record is dropped."""
    client.hset(f"{lanes.prefix}:messages", "odd", b"\xff not ours")
    client.zadd(f"{lanes.prefix}:lane:shop\x1facme", {"odd": 1, "empty": 2})
    lanes.run(enqueue([message("a")]))
    got = lanes.run(exchange("worker", 10)).messages
    assert [(one.message_id, one.payload) for one in got] == [
        ("odd", b"\xff not ours"),
        ("a", b"{}"),
    ]
