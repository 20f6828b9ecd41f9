"""A strike reaches the function that it is meant for, and nothing that comes after it."""

from __future__ import annotations

import asyncio
import functools
import random
import sys
import threading
from dataclasses import dataclass

import pytest

from runtime.functions.guard import _CANCELLED, Guard, _set_exception


@dataclass(eq=False)
class Unwanted:
    unwanted: bool = True


class Striker:
    """A thread that strikes without pause whatever is inside, at random moments."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.strikes = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._strike, daemon=True)

    def _strike(self) -> None:
        chance = random.Random(7)
        while not self._stopping:
            for _ in range(chance.randrange(40)):
                pass
            self.strikes += self.guard.strike(self.guard.step)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping = True
        self._thread.join()


def _count(length):
    total = 0
    for number in range(length):
        total += number
    return total


@pytest.fixture
def short_turns():
    """Threads take turns as often as they can, so that strikes fall everywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_strike_never_leaves_the_function(short_turns):
    """Of thousands of struck calls each ends by value or by CancelledError, and none later."""
    guard, chance = Guard(), random.Random(3)
    struck = 0
    with Striker(guard) as striker:
        while struck < 150:
            length = chance.randrange(600)
            value, error = guard.run(Unwanted(), _count, length)
            # Had a strike outlived the call, one of these instructions would meet it.
            assert guard.inside is None
            assert _count(20) == 190
            if error is None:
                assert value == length * (length - 1) // 2
            else:
                assert isinstance(error, asyncio.CancelledError)
                struck += 1
    assert striker.strikes >= struck


def test_a_strike_in_the_last_instruction():
    """A strike that is set when nothing of the function is left ends with the call all the same."""
    guard = Guard()
    strike = functools.partial(_set_exception, threading.get_ident(), _CANCELLED)
    for _ in range(100):
        # C code, so that the first check for an exception is the guard's own.
        value, error = guard.run(Unwanted(), strike)
        assert value is None
        assert isinstance(error, asyncio.CancelledError)
        assert guard.run(Unwanted(), _count, 20) == (190, None)


def test_a_strike_between_the_end_and_the_lock():
    """A strike that falls after the function's end leaves the value and hits nothing."""

    class Late:
        """A lock that is struck in its last moment."""

        def __enter__(self):
            """Take nothing."""

        __exit__ = staticmethod(lambda *_: _set_exception(threading.get_ident(), _CANCELLED))

    guard = Guard()
    guard._lock = Late()
    for _ in range(100):
        assert guard.run(Unwanted(), _count, 20) == (190, None)
        assert guard.inside is None


def test_an_end_waits_for_a_strike_that_has_begun(monkeypatch):
    """A function cannot end between the look at it and the strike."""
    guard, leave, ended, early = Guard(), threading.Event(), threading.Event(), []

    def late(thread, exception):
        if exception is _CANCELLED:
            leave.set()
            early.append(ended.wait(0.2))
        return _set_exception(thread, exception)

    monkeypatch.setattr("runtime.functions.guard._set_exception", late)
    striker = threading.Thread(target=lambda: guard.strike(guard.step))

    def work():
        striker.start()
        leave.wait()

    guard.run(Unwanted(), work)
    ended.set()
    striker.join()
    assert early == [False]
    assert _count(20) == 190


def test_what_is_wanted_is_never_struck(short_turns):
    """A call that nobody ends returns its value, however hard its neighbours are struck."""
    guard = Guard()
    with Striker(guard):
        for number in range(20_000):
            wanted = number % 2 == 0
            value, error = guard.run(Unwanted(unwanted=not wanted), _count, 30)
            if wanted:
                assert (value, error) == (435, None)


def test_an_earlier_step_is_not_mistaken_for_this_one():
    """A strike that was meant for a step that is over does nothing."""
    guard, struck = Guard(), []

    def strike_late() -> None:
        thread = threading.Thread(target=lambda: struck.append(guard.strike(guard.step - 1)))
        thread.start()
        thread.join()

    guard.run(Unwanted(), _count, 1)
    assert guard.run(Unwanted(), strike_late) == (None, None)
    assert struck == [False]
    assert not guard.strike(guard.step)  # nothing is inside
