"""Functions are ended when their call is, one at a time, and the others never notice."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import subprocess
import sys
import threading
import time

import pytest

from runtime.clock import monotonic
from runtime.errors import CustomCodeError
from runtime.functions.registry import FunctionContext, Functions
from tests.waiting import eventually

THREADS = 2
COLOUR = contextvars.ContextVar("colour", default="none")
CONTEXT = FunctionContext("a-run", {"key": "acme"}, None)


def spin(given):
    while True:
        pass


async def spin_async(given):
    while True:
        pass


def refuse(given):
    """Refuse to end, until it is released."""
    while not given.is_set():
        try:
            while not given.is_set():
                pass
        except BaseException:  # noqa: BLE001, S110 - that is the misbehaviour
            pass


async def refuse_async(given):
    refuse(given)


async def refuse_politely(given):
    """Refuse to end, without holding the loop."""
    while not given.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


def block(given):
    """Be blocked in C, where no exception arrives, until it is released."""
    given.wait()
    return "came back"


async def block_async(given):
    return block(given)


async def spin_in_child(given):
    await asyncio.gather(asyncio.sleep(60), spin_async(given))


async def spin_later(given):
    await asyncio.sleep(0.02)
    await spin_async(given)


async def leave_a_spinner(given):
    given.append(asyncio.create_task(spin_later(given)))


async def tick(given):
    """Be awake now and then, and tell how often."""
    for _ in range(given):
        await asyncio.sleep(0.01)
    return given


async def leave(given):
    async def child():
        sys.exit("now")

    await asyncio.gather(child())


def quick(given):
    total = 0
    for number in range(given):
        total += number
    return total


async def quick_async(given):
    await asyncio.sleep(0)
    return quick(given)


def colour(given):
    return COLOUR.get(), COLOUR.set("changed") and None


async def colour_async(given):
    return await asyncio.create_task(_colour_later())


async def _colour_later():
    return COLOUR.get()


async def clean_up(given):
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        given.append("clean")


async def call_out(given, context):
    return await context.call("/deals", query={"limit": given})


def call_out_plain(given, context):
    return asyncio.run(context.call("/deals", query={"limit": given}))


FUNCTIONS = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(spin, spin_async, refuse, refuse_async, refuse_politely, block, block_async),
        *(spin_in_child, leave_a_spinner, tick, leave, quick, quick_async),
        *(colour, colour_async, clean_up, call_out, call_out_plain),
    )
}


@pytest.fixture
def functions():
    """A worker's functions, with two threads."""
    functions = Functions(FUNCTIONS, threads=THREADS)
    yield functions
    functions.close()


@pytest.fixture
def release():
    """An event that lets functions go that refuse to end; set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


async def _cancelled(functions, name, given=None, *, after=0.05):
    """Call a function, cancel the call, and return the seconds that its end took."""
    task = asyncio.create_task(functions.call(name, given, CONTEXT))
    await asyncio.sleep(after)
    assert not task.done()
    task.cancel()
    began = monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    return monotonic() - began


@pytest.mark.parametrize("name", ["spin", "spin-async", "spin-in-child"])
async def test_a_loop_is_ended(functions, name):
    """A function that loops is ended, really: no thread goes on with it."""
    for _ in range(3 * THREADS):
        assert await _cancelled(functions, name) < 0.4
    assert not functions._abandoned
    assert await functions.call("quick", 10, CONTEXT) == 45
    assert await functions.call("quick-async", 10, CONTEXT) == 45


@pytest.mark.parametrize(
    "name", ["refuse", "refuse-async", "refuse-politely", "block", "block-async"]
)
async def test_what_does_not_end_is_given_up(functions, release, name):
    """The call ends without the function, capacity stays, and the function is counted."""
    for number in range(3 * THREADS):
        assert await _cancelled(functions, name, release) < 0.8
        assert len(functions._abandoned) == number + 1
        assert await functions.call("quick", 10, CONTEXT) == 45
        assert await functions.call("quick-async", 10, CONTEXT) == 45
    release.set()
    await eventually(lambda: not functions._abandoned)


async def test_too_many_that_do_not_end(functions, release):
    """Past four for each thread nothing is begun, which says why; later all is well again."""
    ending = [_cancelled(functions, "refuse-politely", release) for _ in range(4 * THREADS)]
    await asyncio.gather(*ending)
    for name in ("quick", "quick-async"):
        with pytest.raises(CustomCodeError, match="did not end") as refused:
            await functions.call(name, 10, CONTEXT)
        assert refused.value.data == {"function": name, "abandoned": ["refuse-politely"]}
    release.set()
    await eventually(lambda: not functions._abandoned)
    assert await functions.call("quick", 10, CONTEXT) == 45


async def test_others_on_the_loop_survive(functions):
    """Coroutine functions beside one that loops wait, and come to their own end."""
    others = [asyncio.create_task(functions.call("tick", 20, CONTEXT)) for _ in range(10)]
    await _cancelled(functions, "spin-async")
    assert await asyncio.gather(*others) == [20] * 10


async def test_others_on_a_lost_loop_survive(functions, release):
    """A loop that is blocked in C is replaced; who is on it goes on when it comes back."""
    others = [asyncio.create_task(functions.call("tick", 20, CONTEXT)) for _ in range(10)]
    await _cancelled(functions, "block-async", release)
    assert await functions.call("quick-async", 10, CONTEXT) == 45
    assert not any(other.done() for other in others)
    release.set()
    assert await asyncio.gather(*others) == [20] * 10


async def test_a_task_that_a_function_left_behind(functions):
    """A task that loops after the end of its function is ended by the next who must end."""
    left = []
    await functions.call("leave-a-spinner", left, CONTEXT)
    await _cancelled(functions, "tick", 100)
    assert await functions.call("quick-async", 10, CONTEXT) == 45
    assert left[0].cancelled()


async def test_the_loop_outlives_an_exit(functions):
    """SystemExit in a function's task is that function's failure and nobody else's."""
    other = asyncio.create_task(functions.call("tick", 5, CONTEXT))
    with pytest.raises(CustomCodeError, match="SystemExit"):
        await functions.call("leave", None, CONTEXT)
    assert await other == 5


@pytest.mark.parametrize("name", ["quick", "quick-async"])
async def test_no_strike_hits_the_next(functions, name):
    """Whatever is cancelled at random moments, each call has its own value or was cancelled."""
    chance = random.Random(11)
    cancelled = 0

    async def one(doomed):
        nonlocal cancelled
        length = chance.choice([2_000, 5_000_000]) if doomed else chance.randrange(200)
        task = asyncio.create_task(functions.call(name, length, CONTEXT))
        if doomed:
            await asyncio.sleep(chance.random() * 0.002)
            task.cancel()
        try:
            assert await task == length * (length - 1) // 2
        except asyncio.CancelledError:
            assert doomed
            cancelled += 1

    while cancelled < 20:
        await asyncio.gather(*(one(number in (3, 6)) for number in range(10)))
    await eventually(lambda: not functions._abandoned)


async def test_context_goes_along_and_does_not_come_back(functions):
    """A function, and a task of it, see the run's context variables; their changes stay theirs."""
    COLOUR.set("green")
    assert (await functions.call("colour", None, CONTEXT))[0] == "green"
    assert await functions.call("colour-async", None, CONTEXT) == "green"
    assert COLOUR.get() == "green"


async def test_a_function_cleans_up(functions):
    """A function that is ended has a moment to clean up, and its call waits for that."""
    given = []
    await _cancelled(functions, "clean-up", given)
    assert given == ["clean"]


@pytest.mark.parametrize("name", ["call-out", "call-out-plain"])
async def test_outside_calls_are_made_on_the_worker_s_loop(functions, name):
    """Coroutine and plain functions call the app where its connections are."""
    seen = []

    async def call(path, **request):
        seen.append((asyncio.get_running_loop(), threading.current_thread(), COLOUR.get()))
        return [path, request["query"], request["method"]]

    COLOUR.set("blue")
    context = FunctionContext("a-run", {}, call)
    answer = await functions.call(name, 5, context)
    assert answer == ["/deals", {"limit": 5}, "GET"]
    assert seen == [(asyncio.get_running_loop(), threading.current_thread(), "blue")]


async def test_an_outside_call_ends_with_its_function(functions):
    """A call that is under way when its function has to end is broken off."""
    ended = asyncio.Event()

    async def call(path, **request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    context = FunctionContext("a-run", {}, call)
    task = asyncio.create_task(functions.call("call-out", 5, context))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 1)


def test_a_process_ends_although_functions_do_not():
    """Functions that loop, or are blocked, do not keep the process."""
    program = """
import asyncio
from tests.unit.test_functions import CONTEXT, FUNCTIONS, Functions
import threading

async def main():
    functions = Functions(FUNCTIONS, threads=4)
    held = threading.Event()
    for name in ("spin", "refuse", "block", "spin-async", "refuse-async"):
        asyncio.create_task(functions.call(name, held, CONTEXT))
    await asyncio.sleep(0.2)
    print("ending", flush=True)
    functions.close()

asyncio.run(main())
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.startswith("ending"), done.stderr
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 10
