"""The stock dramatiq command hosts the event loop: start, work, stop, and death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.lanes.client import BlockingLanes
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import dead_letters, depth, enqueue
from tests.waiting import eventually
from workers.encoder import LaneEncoder
from workers.main import worker_command

_ROOT = Path(__file__).parents[2]


class Toy:
    """The toy actors' queues, their worker processes, and the marks that they leave."""

    def __init__(self, client, url) -> None:
        self.client, self.url = client, url
        self.loop = BlockingLanes(client, "toyloop")
        self.threads = BlockingLanes(client, "toythreads")

    def send(self, actor, name, seconds, stamp="good"):
        lanes = self.loop if actor == "nap" else self.threads
        fields = {
            "queue_name": lanes.queue,
            "actor_name": actor,
            "args": [name, seconds],
            "kwargs": {},
            "options": {"stamp": stamp},
            "message_id": f"{actor}-{name}",
            "message_timestamp": 0,
        }
        payload = LaneEncoder().encode(fields)
        lanes.run(enqueue([QueuedMessage(f"{actor}-{name}", "shop", "acme", payload)]))

    def marks(self, start=""):
        marks = [mark.decode() for mark in self.client.lrange("marks", 0, -1)]
        return [mark for mark in marks if mark.startswith(start)]

    @contextmanager
    def worker(self, *, grace=10.0, processes=1, queues=()):
        command = worker_command(processes, module="tests.workers.toy_actors", queues=queues)
        environment = {
            **os.environ,
            "VESICLE_REDIS_URL": self.url,
            "VESICLE_GRACE": str(grace),
            "VESICLE_THREADS": "2",
            "VESICLE_SLOTS": "8",
        }
        process = subprocess.Popen(
            command, env=environment, cwd=_ROOT, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def toy(client, valkey):
    client.flushall()
    return Toy(client, valkey.url)  # its actors leave marks at keys of their own


async def test_both_kinds_run_refusals_do_not_and_the_stop_is_clean(toy):
    """One command serves coroutine and blocking queues, refuses bad stamps, and ends with 0."""
    toy.send("nap", "forged", 0, stamp="bad")
    for n in range(5):
        toy.send("nap", n, 0.2)
        toy.send("block", n, 0.01)
    with toy.worker() as process:
        await eventually(lambda: len(toy.marks("end:")) == 5, seconds=20)
        await eventually(lambda: not toy.threads.run(depth()).total, seconds=20)
        assert sorted(toy.marks("block:")) == [f"block:{n}:True" for n in range(5)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (letter,) = toy.loop.run(dead_letters())
    assert letter.message.message_id == "nap-forged"
    assert letter.reason == "stamp_refused"
    assert "start:forged" not in " ".join(toy.marks())
    assert [mark.split(":")[2] for mark in toy.marks("closed:")] == ["0"]
    assert toy.loop.run(depth()).consumers == 0


async def test_stop_hands_back_what_outlasts_the_grace(toy):
    """SIGTERM lets short work end, hands long work back in time, and loses none."""
    toy.send("nap", "short", 0.5)
    toy.send("nap", "long", 3600)
    with toy.worker(grace=1.5) as process:
        await eventually(lambda: len(toy.marks("start:")) == 2, seconds=20)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait(20) == 0
        assert time.monotonic() - asked < 1.5 + 5
    assert toy.marks("end:") == ["end:short"]
    counted = toy.loop.run(depth())
    assert (counted.total, counted.queued) == (1, 1)


async def test_takeover_after_a_worker_is_killed(toy):
    """kill -9 of a worker with messages in flight: another one runs them within ten seconds."""
    with toy.worker() as first:
        await eventually(lambda: toy.marks("open:"), seconds=20)
        for n in range(4):
            toy.send("nap", n, 4)
        await eventually(lambda: len(toy.marks("start:")) == 4, seconds=20)
        with toy.worker() as second:
            await eventually(lambda: len(toy.marks("open:")) == 2, seconds=20)
            os.killpg(first.pid, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(lambda: len(toy.marks("start:")) == 8, seconds=15)
            assert time.monotonic() - killed < 10
            await eventually(lambda: not toy.loop.run(depth()).total, seconds=15)
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
    assert sorted(toy.marks("end:")) == [f"end:{n}" for n in range(4)]


async def test_a_worker_can_choose_its_queues(toy):
    """`--queues` names coroutine and blocking queues alike; the others are left alone."""
    toy.send("nap", "a", 0)
    toy.send("block", "a", 0)
    with toy.worker(queues=["toythreads"]) as process:
        await eventually(lambda: toy.marks("block:"), seconds=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert toy.loop.run(depth()).queued == 1
    with toy.worker(queues=["toyloop"]):
        await eventually(lambda: toy.marks("end:"), seconds=20)


def test_the_command_is_dramatiqs_own():
    """Nothing of the connection is in the arguments; they are for dramatiq's own program."""
    command = worker_command(3)
    assert command[:3] == [sys.executable, "-m", "dramatiq"]
    assert command[command.index("--processes") + 1] == "3"
    assert "redis" not in " ".join(command[3:])
