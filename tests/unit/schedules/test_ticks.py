"""What becomes of ticks that are due, missed, or come while the run before is under way."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runtime.schedules.ticks import Due, outcome_of, run_id_of
from runtime.schedules.timing import timing_of

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = timedelta(seconds=7)


def due(nominal=NOON, **timing):
    """Return a schedule that ticks every five minutes."""
    return Due(
        timing=timing_of({"intervalMinutes": 5, **timing}),
        anchor=NOON - 60 * MINUTE,
        offset=timedelta(),
        nominal=nominal,
        is_held=False,
        is_busy=False,
        is_full=False,
    )


def minutes(moments):
    """Return moments as minutes after noon."""
    return [(moment - NOON) / MINUTE for moment in moments]


def test_a_tick_on_time_runs_and_the_next_one_follows():
    """Late by a moment, the next tick is where it would have been."""
    outcome = outcome_of(due(), NOON + timedelta(milliseconds=80))
    assert outcome.ticks == (NOON,)
    assert outcome.nominal == outcome.next_at == NOON + 5 * MINUTE
    assert outcome.skipped is None


@pytest.mark.parametrize(
    ("catch_up", "ran", "skipped"),
    [("none", [60], 55), ("last", [60], 55), ("all", [0], None)],
)
def test_after_an_outage_the_policy_says_what_runs(catch_up, ran, skipped):
    """An hour and a minute late: the last tick is fresh, so that it runs whatever the policy."""
    outcome = outcome_of(due(catchUp=catch_up), NOON + 61 * MINUTE)
    assert minutes(outcome.ticks) == ran
    assert outcome.reason == (None if skipped is None else "missed")
    assert outcome.skipped == (None if skipped is None else NOON + skipped * MINUTE)
    assert outcome.nominal == NOON + (ran[-1] + 5) * MINUTE


def test_none_leaves_out_a_tick_that_is_long_past():
    """A nightly run that nobody was there for is not made up for at noon."""
    late = replace(due(catchUp="none"), timing=timing_of({"cron": "0 3 * * *", "catchUp": "none"}))
    late = replace(late, nominal=NOON - 9 * 60 * MINUTE)
    outcome = outcome_of(late, NOON)
    assert outcome.ticks == ()
    assert (outcome.skipped, outcome.reason) == (late.nominal, "missed")
    last = replace(late, timing=timing_of({"cron": "0 3 * * *"}))
    assert outcome_of(last, NOON).ticks == (late.nominal,)


def test_all_may_run_at_once_or_one_after_the_other():
    """With `allow` at once, up to a bound at a time; else each waits for the one before it."""
    at = NOON + 61 * MINUTE
    outcome = outcome_of(due(catchUp="all", overlap="allow"), at)
    assert minutes(outcome.ticks) == list(range(0, 61, 5))
    one = outcome_of(due(catchUp="all"), at)
    assert minutes(one.ticks) == [0]
    assert one.is_held
    assert one.next_at <= at  # the next look is at once
    many = outcome_of(due(catchUp="all", overlap="allow"), NOON + 1000 * MINUTE)
    assert len(many.ticks) == 100
    assert many.next_at == NOON + 500 * MINUTE


def test_all_reaches_back_as_far_as_the_window():
    """What is older is skipped, and says so."""
    late = due(catchUp="all", overlap="allow", catchUpWindowSeconds=600)
    outcome = outcome_of(late, NOON + 61 * MINUTE)
    assert minutes(outcome.ticks) == [55, 60]
    assert (outcome.skipped, outcome.reason) == (NOON + 50 * MINUTE, "missed")


def test_skip_leaves_out_a_tick_while_a_run_is_under_way():
    """And goes on with the next one."""
    outcome = outcome_of(replace(due(), is_busy=True), NOON)
    assert outcome.ticks == ()
    assert (outcome.skipped, outcome.reason) == (NOON, "overlap")
    assert outcome.nominal == NOON + 5 * MINUTE


def test_queue_holds_ticks_and_runs_them_one_after_the_other():
    """None is lost while it waits; each is looked at more seldom the longer it waits."""
    busy = replace(due(overlap="queue"), is_busy=True)
    outcome = outcome_of(busy, NOON)
    assert outcome.ticks == ()
    assert outcome.nominal == NOON
    assert outcome.next_at == NOON + timedelta(seconds=1)
    held = replace(busy, is_held=True)
    assert outcome_of(held, NOON + 12 * MINUTE).next_at == NOON + 12 * MINUTE + timedelta(
        seconds=30
    )
    free = replace(held, is_busy=False)
    outcome = outcome_of(free, NOON + 12 * MINUTE)
    assert minutes(outcome.ticks) == [0]
    assert outcome.is_held
    assert outcome.nominal == NOON + 5 * MINUTE
    caught_up = outcome_of(replace(free, nominal=NOON + 10 * MINUTE), NOON + 12 * MINUTE)
    assert minutes(caught_up.ticks) == [10]
    assert not caught_up.is_held


def test_a_held_tick_does_not_wait_for_ever():
    """Past the window it is dropped, and the rest goes on."""
    held = replace(due(overlap="queue", catchUpWindowSeconds=600), is_held=True)
    outcome = outcome_of(held, NOON + 61 * MINUTE)
    assert minutes(outcome.ticks) == [55]
    assert (outcome.skipped, outcome.reason) == (NOON + 50 * MINUTE, "too_old")


def test_allow_asks_nobody():
    """A run under way does not matter."""
    assert outcome_of(replace(due(overlap="allow"), is_busy=True), NOON).ticks == (NOON,)


def test_a_full_backlog_skips():
    """As a submission would be refused."""
    outcome = outcome_of(replace(due(overlap="allow"), is_full=True), NOON)
    assert outcome.ticks == ()
    assert outcome.reason == "backlog_full"


def test_jitter_moves_when_and_not_what():
    """The nominal time stays; the tick comes later, this time and the next."""
    late = replace(due(), offset=2 * MINUTE)
    outcome = outcome_of(late, NOON + 2 * MINUTE)
    assert outcome.ticks == (NOON,)
    assert outcome.nominal == NOON + 5 * MINUTE
    assert outcome.next_at == NOON + 7 * MINUTE


def test_the_end_is_the_end():
    """After the last tick there is none."""
    outcome = outcome_of(due(endAt="2026-06-01T12:04:00Z"), NOON)
    assert outcome.ticks == (NOON,)
    assert outcome.nominal is None
    assert outcome.next_at is None


def test_a_tick_has_one_run_whoever_makes_it():
    """Its id is a UUIDv7 of the tick's time, and says nothing of who fired it, when or where."""
    schedule = uuid.uuid4()
    made = run_id_of(schedule, NOON, LATER, NOON + MINUTE)
    assert made == run_id_of(schedule, NOON.astimezone(), LATER, NOON + 90 * MINUTE)
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == int((NOON + LATER).timestamp() * 1000)
    others = {run_id_of(schedule, NOON + n * MINUTE, LATER, NOON) for n in range(100)}
    assert len(others | {run_id_of(uuid.uuid4(), NOON, LATER, NOON)}) == 101
