"""What a schedule may say of its times, and what that comes to."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ConfigurationError
from runtime.schedules.timing import (
    last_due,
    next_after,
    spread,
    timing_of,
    timing_of_node,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "/cron"),
        ({"cron": "0 0 31 2 *"}, "/cron"),
        ({"cron": 5}, "/cron"),
        ({"cron": "* * * * *", "intervalMinutes": 5}, "/intervalMinutes"),
        ({"intervalMinutes": 0}, "/intervalMinutes"),
        ({"intervalMinutes": "5"}, "/intervalMinutes"),
        ({"intervalMinutes": True}, "/intervalMinutes"),
        ({"intervalSeconds": 0.5}, "/intervalSeconds"),
        ({"intervalSeconds": 10**12}, "/intervalSeconds"),
        ({"cron": "0 9 * * *", "timezone": "Mars/Olympus"}, "/timezone"),
        ({"intervalMinutes": 5, "startAt": "soon"}, "/startAt"),
        ({"intervalMinutes": 5, "startAt": "9999-12-31T23:59:59-12:00"}, "/startAt"),
        ({"intervalMinutes": 5, "startAt": "2026-02-01", "endAt": "2026-01-01"}, "/endAt"),
        ({"cron": "0 9 1 7 *", "startAt": "2026-02-01", "endAt": "2026-03-01"}, "/endAt"),
        ({"intervalMinutes": 5, "overlap": "maybe"}, "/overlap"),
        ({"intervalMinutes": 5, "catchUp": True}, "/catchUp"),
        ({"intervalMinutes": 5, "catchUpWindowSeconds": 10**9}, "/catchUpWindowSeconds"),
        ({"intervalMinutes": 5, "jitterSeconds": -1}, "/jitterSeconds"),
        ({"intervalMinutes": 5, "timeZone": "UTC"}, "/timeZone"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(document, path):
    """One fault at least, at the place where it is."""
    with pytest.raises(ConfigurationError) as refused:
        timing_of(document)
    assert path in [fault["path"] for fault in refused.value.data["errors"]]


def test_the_contracts_trigger_works_as_it_is():
    """`intervalMinutes` alone, beside what is about the input; nothing at all is not wrong yet."""
    timing = timing_of_node({"intervalMinutes": 60, "inputSchema": {"type": "object"}})
    assert timing is not None
    assert timing.interval == timedelta(hours=1)
    assert timing_of_node({}) is None


def test_intervals_do_not_drift():
    """Thirteen hours are thirteen hours, counted from the anchor."""
    timing = timing_of({"intervalMinutes": 13 * 60})
    assert next_after(timing, NOON, NOON) == NOON + 780 * MINUTE
    assert next_after(timing, NOON + 779 * MINUTE, NOON) == NOON + 780 * MINUTE
    assert next_after(timing, NOON + 10_000 * MINUTE, NOON) == NOON + 13 * 780 * MINUTE


def test_start_and_end_bound_the_ticks():
    """With a start the first tick is at the start; none comes after the end."""
    timing = timing_of(
        {
            "intervalMinutes": 10,
            "startAt": "2026-06-01T14:00:00+02:00",
            "endAt": "2026-06-01T12:25:00Z",
        }
    )
    assert next_after(timing, NOON - 99 * MINUTE, NOON) == NOON
    assert next_after(timing, NOON, NOON) == NOON + 10 * MINUTE
    assert next_after(timing, NOON + 20 * MINUTE, NOON) is None
    assert last_due(timing, NOON, NOON + 600 * MINUTE, NOON) == NOON + 20 * MINUTE
    local = timing_of({"cron": "0 9 * * *", "timezone": "Asia/Tokyo", "startAt": "2026-06-01"})
    assert local.start == datetime(2026, 5, 31, 15, tzinfo=UTC)


@given(
    times=st.sampled_from(
        [
            *({"cron": each} for each in ("*/5 * * * *", "0 3 * * 1", "0 0 1 */3 *", "0 0 29 2 *")),
            *({"cron": each} for each in ("*/10 * * * * *", "30 2 * * *")),
            *({"intervalSeconds": each} for each in (1, 7, 86_400)),
        ]
    ),
    late=st.integers(0, 3 * 366 * 86_400),
)
def test_the_last_tick_that_is_due_is_found_however_late(times, late):
    """It is due, and the one after it is not."""
    timing = timing_of({**times, "timezone": "Europe/Berlin"})
    first = next_after(timing, NOON, NOON)
    until = first + timedelta(seconds=late)
    last = last_due(timing, first, until, NOON)
    assert first <= last <= until
    assert next_after(timing, last, NOON) > until
    assert next_after(timing, last - timedelta(microseconds=1), NOON) == last


def test_a_tenants_ticks_are_put_off_by_the_same_each_time():
    """Within the jitter, and by another time for another tenant."""
    timing = timing_of({"cron": "0 3 * * *", "jitterSeconds": 600})
    flow = uuid.uuid4()
    tenants = [uuid.uuid4() for _ in range(50)]
    offsets = [spread(timing, tenant, flow) for tenant in tenants]
    assert offsets == [spread(timing, tenant, flow) for tenant in tenants]
    assert all(timedelta() <= each < timedelta(minutes=10) for each in offsets)
    assert len(set(offsets)) > 40
    assert spread(timing_of({"cron": "0 3 * * *"}), tenants[0], flow) == timedelta()
