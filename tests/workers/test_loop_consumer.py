"""The event loop's consumer does what dramatiq's worker does, with many messages at once."""

from __future__ import annotations

import asyncio
import contextvars
import time

import dramatiq
from dramatiq.errors import Retry
from dramatiq.middleware import SkipMessage

from tests.waiting import eventually
from workers.consumer import LoopConsumer

tenant_of = contextvars.ContextVar("tenant_of", default="nobody")


class Recorder(dramatiq.Middleware):
    """Refuses what is marked, binds the tenant, notes every hook."""

    def __init__(self) -> None:
        self.seen = []

    def before_process_message(self, broker, message):
        self.seen.append(("before", message.message_id))
        tenant_of.set(message.options.get("tenant"))
        if message.kwargs.get("refuse"):
            message.fail()
            raise SkipMessage("not with us")

    def after_process_message(self, broker, message, *, result=None, exception=None):
        self.seen.append(("after", message.message_id, type(exception).__name__))

    def after_skip_message(self, broker, message):
        self.seen.append(("skipped", message.message_id))

    def after_nack(self, broker, message):
        self.seen.append(("nacked", message.message_id))


async def test_runs_many_at_once_and_acknowledges(bench):
    """Thirty messages of a tenth of a second in thirty slots take little more than one."""
    running, peak = 0, 0

    async def nap(n):
        nonlocal running, peak
        running, peak = running + 1, max(peak, running + 1)
        await asyncio.sleep(0.1)
        running -= 1

    actor = bench.actor(nap)
    for n in range(30):
        actor.send(n)
    started = time.monotonic()
    async with bench.consuming(slots=30):
        await eventually(lambda: not bench.depth().total)
        assert time.monotonic() - started < 2
    assert peak == 30


async def test_never_holds_more_than_its_slots(bench):
    """With three slots three messages run and the others wait in the server for somebody else."""
    release = asyncio.Event()
    started = []

    async def hold(n):
        started.append(n)
        await release.wait()

    actor = bench.actor(hold)
    for n in range(10):
        actor.send(n)
    async with bench.consuming(slots=3):
        await eventually(lambda: len(started) == 3)
        assert (bench.depth().held, bench.depth().queued) == (3, 7)
        release.set()
        await eventually(lambda: not bench.depth().total)
    assert sorted(started) == list(range(10))


async def test_a_spare_slot_starts_who_holds_nothing(bench):
    """A flood leaves the spare slot free, and another tenant's message starts in it at once."""
    release = asyncio.Event()
    started = []

    async def hold(who):
        started.append(who)
        await release.wait()

    actor = bench.actor(hold)

    def send(who):
        return actor.send_with_options(args=(who,), workspace="shop", tenant=who)

    for _ in range(10):
        send("acme")
    consumer = LoopConsumer(bench.broker, [bench.queue], slots=4, grace=5, spare=1)
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: consumer.in_flight == 3)
    send("acme")
    send("globex")
    await eventually(lambda: consumer.in_flight == 4)
    assert started == ["acme"] * 3 + ["globex"]
    release.set()
    await eventually(lambda: not bench.depth().total)
    assert len(started) == 12
    consumer.stop()
    await running


async def test_middleware_binds_refuses_and_observes(make_bench):
    """Hooks run around each message in a context of its own; a refused one is never run."""
    recorder = Recorder()
    bench = make_bench(middleware=[recorder])
    tenants = {}

    async def look(n, refuse=False):
        await asyncio.sleep(0.01)
        tenants[n] = tenant_of.get()

    actor = bench.actor(look)
    sent = [
        actor.send_with_options(args=(n,), workspace="shop", tenant=f"tenant{n}") for n in range(5)
    ]
    refused = actor.send_with_options(args=(9,), kwargs={"refuse": True})
    async with bench.consuming():
        await eventually(lambda: not bench.depth().total)
    assert tenants == {n: f"tenant{n}" for n in range(5)}
    assert tenant_of.get() == "nobody"
    assert {("before", m.message_id) for m in sent} < set(recorder.seen)
    assert {("after", m.message_id, "NoneType") for m in sent} < set(recorder.seen)
    own = [what for what, message_id, *_ in recorder.seen if message_id == refused.message_id]
    assert own == ["before", "skipped", "nacked"]
    assert bench.dead() == {refused.message_id: "not with us"}


async def test_asked_for_retry(make_bench):
    """An actor that raises Retry is run again after its delay, and not logged as trouble."""
    recorder = Recorder()
    bench = make_bench(middleware=[recorder])
    times = []

    async def twice():
        times.append(time.monotonic())
        if len(times) == 1:
            raise Retry(delay=200)

    message = bench.actor(twice).send()
    async with bench.consuming():
        await eventually(lambda: len(times) == 2 and not bench.depth().total)
    assert 0.19 <= times[1] - times[0] < 0.45
    assert ("after", message.message_id, "Retry") in recorder.seen


async def test_trouble_is_tried_again(bench):
    """Any other exception means trouble around the run: it is tried again, not lost."""
    times = []

    async def flaky():
        times.append(time.monotonic())
        if len(times) == 1:
            raise ConnectionError("the database is away")
        if len(times) == 2:
            raise SystemExit(3)

    bench.actor(flaky).send()
    async with bench.consuming():
        await eventually(lambda: len(times) == 3 and not bench.depth().total)
    assert times[1] - times[0] >= 0.49


async def test_an_inner_cancellation_is_trouble(bench):
    """A cancellation that nobody asked for, as a broken library raises it, loses no message."""
    tries = []

    async def confused():
        tries.append(1)
        if len(tries) == 1:
            raise asyncio.CancelledError

    bench.actor(confused).send()
    async with bench.consuming():
        await eventually(lambda: len(tries) == 2 and not bench.depth().total)


async def test_unreadable_messages_are_quarantined_once(bench):
    """Garbage among good messages is told once, kept as dead, and stops nobody."""
    done = []

    async def good(n):
        done.append(n)

    actor = bench.actor(good)
    garbage = {
        "bytes": b"\xff\x00\x01",
        "list": b"[]",
        "null": b"null",
        "empty": b"",
        "fields": b'{"queue_name":"q"}',
        "deep": b"[" * 100_000,
        "types": b'{"queue_name":1,"actor_name":1,"args":1,"kwargs":1,"options":1,'
        b'"message_id":1,"message_timestamp":1}',
    }
    for n, (name, payload) in enumerate(garbage.items()):
        actor.send(n)
        bench.put_raw(name, payload)
    async with bench.consuming(slots=2):
        await eventually(lambda: not bench.depth().total)
    assert sorted(done) == list(range(len(garbage)))
    assert sorted(name for name, _ in bench.quarantined) == sorted(garbage)
    assert bench.dead().keys() == garbage.keys()
    assert all(reason.startswith("unreadable: ") for reason in bench.dead().values())


async def test_unknown_actors_are_dead_letters(bench):
    """A message for an actor that this queue does not serve is never run."""
    message = bench.actor(asyncio.sleep, actor_name="gone").message(0)
    del bench.broker.actors["gone"]
    bench.broker.enqueue(message)
    async with bench.consuming():
        await eventually(bench.dead)
    assert bench.dead() == {message.message_id: "ActorNotFound"}


async def test_cancelling(bench):
    """A cancelled message stops at once wherever it waits, and is done."""
    started = asyncio.Event()
    ended = []

    async def endless():
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(time.monotonic())

    message = bench.actor(endless).send()
    async with bench.consuming() as consumer:
        await asyncio.wait_for(started.wait(), 5)
        asked = time.monotonic()
        assert consumer.cancel(message.message_id)
        await eventually(lambda: not bench.depth().total)
        assert not consumer.cancel(message.message_id)
    assert ended[0] - asked < 1
    assert not bench.dead()


async def test_stop_finishes_what_it_can_and_hands_back_the_rest(bench):
    """A stop waits for the grace, then cancels; what was cancelled is first in its lane again."""
    started, finished = [], []

    async def work(n, seconds):
        started.append(n)
        await asyncio.sleep(seconds)
        finished.append(n)

    actor = bench.actor(work)
    for n, seconds in enumerate([0.2, 3600, 3600, 0]):
        actor.send(n, seconds)
    async with bench.consuming(slots=3, grace=0.6) as consumer:
        await eventually(lambda: len(started) == 3)
        assert consumer.in_flight == 3
        asked = time.monotonic()
    assert time.monotonic() - asked < 2
    assert finished == [0]
    counted = bench.depth()
    assert (counted.total, counted.queued, counted.consumers) == (3, 3, 0)


async def test_idle_start_is_prompt(bench):
    """An idle consumer starts a message within milliseconds of its sending."""
    starts = {}

    async def note(n):
        starts[n] = time.perf_counter()

    actor = bench.actor(note)
    waits = []
    async with bench.consuming() as consumer:
        await eventually(lambda: consumer.ready)
        for n in range(20):
            sent = time.perf_counter()
            await asyncio.to_thread(actor.send, n)
            await eventually(lambda n=n: n in starts)
            waits.append(starts[n] - sent)
    assert sorted(waits)[len(waits) // 2] < 0.05


async def test_two_queues_share_the_slots(bench):
    """A flood in one queue leaves its turn to another queue of the same worker."""
    done = []

    async def note(queue):
        done.append(queue)
        await asyncio.sleep(0.002)

    other = f"{bench.queue}b"
    flood = bench.actor(note, actor_name="flood")
    light = bench.actor(note, actor_name="light", queue_name=other)
    for _ in range(200):
        flood.send("flood")
    light.send("light")
    consumer = LoopConsumer(bench.broker, [bench.queue, other], slots=2, grace=5)
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: len(done) == 201)
    consumer.stop()
    await running
    assert done.index("light") < 20


async def test_a_message_that_comes_by_mail_is_worked_on(bench):
    """One after the other, and each once: an idle consumer is given what comes."""
    done = []

    async def note(number):
        done.append(number)

    actor = bench.actor(note)
    async with bench.consuming():
        for number in range(20):
            actor.send(number)
            await eventually(lambda number=number: len(done) == number + 1)
    assert done == list(range(20))
    assert bench.depth().total == 0


async def test_mail_that_comes_while_a_consumer_stops_goes_to_others(bench):
    """It finishes what it works on, and begins nothing more."""
    began, release, done = asyncio.Event(), asyncio.Event(), []

    async def work(number):
        began.set()
        if number == 0:
            await release.wait()
        done.append(number)

    actor = bench.actor(work)
    async with bench.consuming() as first:
        actor.send(0)
        await began.wait()
        await eventually(lambda: bench.waiting() == 1)
        first.stop()
        actor.send(1)
        await asyncio.sleep(0)
        async with bench.consuming():
            await eventually(lambda: done == [1])
            release.set()
    assert sorted(done) == [0, 1]
    assert bench.depth().total == 0
