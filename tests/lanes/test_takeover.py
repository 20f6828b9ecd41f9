"""What happens when a consumer, an answer, or the server's memory is lost."""

from __future__ import annotations

import subprocess
import sys
import time

from runtime.lanes.client import BlockingLanes
from runtime.lanes.messages import QueuedMessage, acked
from runtime.lanes.operations import beat, depth, enqueue, exchange

_DOOMED = """
import sys
from runtime.lanes.client import BlockingLanes, connect_blocking
from runtime.lanes.operations import beat, exchange
lanes = BlockingLanes(connect_blocking(sys.argv[1]), sys.argv[2])
lanes.run(exchange("doomed", 3))
lanes.run(beat("doomed"))
print("holding", flush=True)
sys.stdin.read()
"""


def message(name):
    return QueuedMessage(name, "shop", "acme", b"{}")


def fetch(lanes, room=10, consumer="worker"):
    return [got.message_id for got in lanes.run(exchange(consumer, room)).messages]


def test_takeover_of_a_killed_consumer(lanes, redis_url):
    """A consumer's messages go, in their order, to another once it was silent for the timeout."""
    lanes.run(enqueue([message(str(n)) for n in range(5)]))
    with subprocess.Popen(
        [sys.executable, "-c", _DOOMED, redis_url, lanes.queue],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as doomed:
        assert doomed.stdout.readline() == b"holding\n"
        assert fetch(lanes) == ["3", "4"]
        doomed.kill()
    killed = time.monotonic()
    taken = []
    while not taken:
        lanes.run(beat("worker", timeout=1.0))
        taken = fetch(lanes)
        assert time.monotonic() - killed < 10
    assert taken == ["0", "1", "2"]
    assert time.monotonic() - killed > 0.9


def test_a_time_without_beats_proves_nothing(lanes, client):
    """After the server stood still nobody is taken over; who stays silent then, is."""
    lanes.run(enqueue([message("a")]))
    assert fetch(lanes, consumer="living") == ["a"]
    lanes.run(beat("living"))
    for name in ("seen", "beats"):  # as if all this had been an hour ago
        key = f"{lanes.prefix}:{name}"
        if name == "seen":
            client.set(key, int(client.get(key)) - 3_600_000)
        else:
            client.zincrby(key, -3_600_000, "living")
    lanes.run(beat("other"))
    assert fetch(lanes, consumer="other") == []
    assert lanes.run(beat("living")).held == {"a"}


def test_what_a_lost_answer_brought_is_told_by_the_beat(lanes):
    """The beat lists what the server thinks we hold, so that we can hand back what we never saw."""
    lanes.run(enqueue([message("a"), message("b")]))
    fetch(lanes)  # as if this answer had been lost
    assert lanes.run(beat("worker")).held == {"a", "b"}


def test_flushed_server(lanes, client):
    """After FLUSHALL and with all scripts gone, consumers go on and a new sending is served."""
    lanes.run(enqueue([message("a"), message("b")]))
    assert fetch(lanes, 1) == ["a"]
    client.flushall()
    client.script_flush()
    assert lanes.run(exchange("worker", 5, [acked("a", 0.1)])).messages == []
    assert lanes.run(beat("worker")) == (False, None, frozenset())
    lanes.run(enqueue([message("a"), message("b")]))
    assert fetch(lanes) == ["a", "b"]


def test_flushed_queue(client, queue):
    """Flushing a queue empties it and leaves the others alone."""
    lanes, other = BlockingLanes(client, queue), BlockingLanes(client, f"{queue}-other")
    for one in (lanes, other):
        one.run(enqueue([message("a")]))
    lanes.flush()
    assert lanes.run(depth()).total == 0
    assert other.run(depth()).total == 1
