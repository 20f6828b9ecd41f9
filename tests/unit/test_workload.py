"""A process takes no more than it can begin at once, and less while a crowd is in others' way."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from runtime import workload as module
from runtime.workload import Workload


class Clock:
    """Monotonic seconds that the test sets."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(module, "monotonic", lambda: Clock.now)
    Clock.now = 100.0
    return Clock


@pytest.fixture
def eased():
    return []


@pytest.fixture
def load(clock, eased):
    return Workload(most=100, considerate=10, eased=lambda: eased.append(1))


def test_what_waits_outside_takes_no_room(load, eased):
    """A run takes room while it keeps the process busy, and none while it waits for others."""
    with load.busy:
        assert load.room == 99
        with load.elsewhere:
            assert load.room == 100
            assert eased == [1]
            with load.busy:
                assert load.room == 99
        assert load.room == 99
    assert load.room == 100


def test_many_who_come_back_at_once_leave_no_room(load, eased):
    """Runs that come back from outside are taken back, past the bound; ease is told below it."""
    for _ in range(103):
        load.enter()
    assert load.room == -3
    for _ in range(3):
        load.leave()
    assert not eased
    load.leave()
    assert eased == [1]


def test_a_crowd_is_considerate_once_somebody_else_comes(load, clock):
    """While one tenant holds most of much, the run of another one narrows the bound for a while."""
    with ExitStack() as crowd:
        for _ in range(20):
            crowd.enter_context(load.held_for("acme"))
        assert load.room == 100
        with load.held_for("globex"):
            assert load.room == 10
        clock.now += 14.9
        assert load.room == 10
        clock.now += 0.2
        assert load.room == 100


@pytest.mark.parametrize("holdings", [[9], [12, 12], [7, 7, 7]])
def test_without_a_crowd_there_is_no_reason_to(load, holdings):
    """Little work, or work of several tenants, is not narrowed: it would only take longer."""
    with ExitStack() as held:
        for turn in range(max(holdings)):
            for number, count in enumerate(holdings):
                if turn < count:
                    held.enter_context(load.held_for(number))
        with load.held_for("globex"):
            assert load.room == 100


def test_the_crowd_itself_is_no_somebody_else(load):
    """A tenant that fills an empty process narrows nothing by its own first runs."""
    with ExitStack() as crowd:
        for _ in range(50):
            crowd.enter_context(load.held_for("acme"))
        assert load.room == 100
