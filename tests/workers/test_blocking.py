"""Blocking actors on dramatiq's own worker threads, over the same lanes."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed, QueueNotFound, Retry
from dramatiq.middleware import SkipMessage

from tests.waiting import eventually


@contextmanager
def working(broker, threads=2):
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=threads)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def blocking(bench, fn, **options):
    return bench.actor(fn, actor_class=dramatiq.Actor, **options)


async def test_runs_and_acknowledges(bench):
    """Twenty messages are run by two threads; the queue is empty after."""
    ran = []
    actor = blocking(bench, ran.append, actor_name="note")
    for n in range(20):
        actor.send(n)
    with working(bench.broker):
        await eventually(lambda: not bench.depth().total)
    assert sorted(ran) == list(range(20))


async def test_fetches_no_more_than_the_threads_can_start(bench):
    """Two busy threads hold two messages; a third one stays where others can get it."""
    release = threading.Event()
    actor = blocking(bench, lambda: release.wait(10) and None, actor_name="hold")
    for _ in range(6):
        actor.send()
    with working(bench.broker):
        await eventually(lambda: bench.depth().held == 2)
        assert bench.depth().queued == 4
        release.set()
        await eventually(lambda: not bench.depth().total)


async def test_outcomes(make_bench):
    """Retry comes again after its delay, trouble comes again, a refusal is a dead letter."""

    class Refuse(dramatiq.Middleware):
        def before_process_message(self, broker, message):
            if message.kwargs.get("refuse"):
                message.fail()
                raise SkipMessage("not with us")

    bench = make_bench(middleware=[Refuse()])
    times = {"retry": [], "trouble": []}

    def act(what, refuse=False):
        times[what].append(time.monotonic())
        if len(times[what]) == 1:
            raise Retry(delay=150) if what == "retry" else OSError("away")

    actor = blocking(bench, act)
    actor.send("retry")
    actor.send("trouble")
    refused = actor.send("refused", refuse=True)
    with working(bench.broker):
        await eventually(lambda: not bench.depth().total)
    assert [len(times[what]) for what in ("retry", "trouble")] == [2, 2]
    assert 0.14 <= times["retry"][1] - times["retry"][0] < 0.45
    assert times["trouble"][1] - times["trouble"][0] >= 0.49
    assert bench.dead() == {refused.message_id: "not with us"}


async def test_delayed_and_unreadable(bench):
    """A delay ends inside the server; an unreadable message is quarantined once."""
    ran = []
    actor = blocking(bench, lambda: ran.append(time.monotonic()), actor_name="note")
    sent = time.monotonic()
    actor.send_with_options(delay=300)
    bench.put_raw("garbage", b"{}")
    with working(bench.broker):
        await eventually(lambda: not bench.depth().total)
    assert 0.29 <= ran[0] - sent < 0.7
    assert [name for name, _ in bench.quarantined] == ["garbage"]
    assert bench.dead().keys() == {"garbage"}


async def test_stop_hands_back(bench):
    """What the broker still holds when it is closed goes back to its lane."""
    actor = blocking(bench, lambda: None, actor_name="never")
    for _ in range(3):
        actor.send()
    consumer = bench.broker.consume(bench.queue, prefetch=4, timeout=100)
    assert next(consumer) is not None
    assert bench.depth().held == 2
    consumer.close()
    assert bench.depth().held == 1
    bench.broker.close()
    assert bench.depth().queued == 3


def test_each_queue_has_one_kind_of_actor(bench):
    """Dramatiq's worker does not see coroutine queues, and nobody can mix the kinds."""

    async def coroutine():
        pass

    bench.actor(coroutine)
    blocking(bench, lambda: None, actor_name="other", queue_name="plain")
    assert bench.broker.get_declared_queues() == {"plain"}
    assert bench.broker.loop_queues == {bench.queue}
    with pytest.raises(QueueNotFound):
        bench.broker.consume(bench.queue)
    with pytest.raises(ValueError, match="other kind"):
        blocking(bench, lambda: None, actor_name="mixed")
    with pytest.raises(TypeError, match="LoopActor"):
        blocking(bench, coroutine, actor_name="plain_coroutine", queue_name="third")


def test_unreachable_queue(make_bench):
    """Sending to a Redis that is away raises dramatiq's connection error and loses no secret."""
    bench = make_bench("redis://:hidden@127.0.0.1:1/0")
    actor = blocking(bench, lambda: None, actor_name="never")
    with pytest.raises(ConnectionClosed) as error:
        actor.send()
    assert "hidden" not in str(error.value)
    with pytest.raises(ConnectionClosed):
        next(bench.broker.consume(bench.queue, prefetch=2, timeout=100))


async def test_flush_and_join(make_bench, valkey):
    """Flushing, which is for administrators, drops what waits; joining waits, or times out."""
    bench = make_bench(valkey.url)
    actor = blocking(bench, lambda: None, actor_name="note")
    actor.send()
    with pytest.raises(dramatiq.errors.QueueJoinTimeout):
        bench.broker.join(bench.queue, timeout=20)
    bench.broker.flush_all()
    bench.broker.join(bench.queue, timeout=1000)
