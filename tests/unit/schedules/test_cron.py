"""Cron expressions, most of all where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.schedules.cron import cron_after, cron_fault, zone_fault

BERLIN, NEW_YORK, LORD_HOWE, HAVANA = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"),
)


def ticks(cron, zone, since, until):
    """Return the ticks from one local moment to another, as local texts with their offset."""
    place = ZoneInfo(zone)
    at = datetime.fromisoformat(since).replace(tzinfo=place).astimezone(UTC)
    end = datetime.fromisoformat(until).replace(tzinfo=place).astimezone(UTC)
    at -= timedelta(seconds=1)
    found = []
    while (tick := cron_after(cron, zone, at)) is not None and tick < end:
        found.append(tick.astimezone(place).strftime("%m-%d %H:%M:%S %z"))
        at = tick
    return found


def test_a_time_that_spring_leaves_out_comes_once_as_soon_as_it_can():
    """Half past two is not there on the 29th of March; three o'clock summer time stands in."""
    assert ticks("30 2 * * *", BERLIN, "2026-03-28", "2026-03-31") == [
        "03-28 02:30:00 +0100",
        "03-29 03:00:00 +0200",
        "03-30 02:30:00 +0200",
    ]
    assert ticks("0,30 2,3 * * *", BERLIN, "2026-03-29", "2026-03-30") == [
        "03-29 03:00:00 +0200",
        "03-29 03:30:00 +0200",
    ]
    assert ticks("15 2 8 3 *", NEW_YORK, "2026-03-08", "2026-03-09") == ["03-08 03:00:00 -0400"]


def test_a_time_that_autumn_brings_twice_counts_once():
    """Half past two is there twice on the 25th of October; the first one counts."""
    assert ticks("30 2 * * *", BERLIN, "2026-10-24", "2026-10-27") == [
        "10-24 02:30:00 +0200",
        "10-25 02:30:00 +0200",
        "10-26 02:30:00 +0100",
    ]
    assert ticks("30 1 * * *", NEW_YORK, "2026-11-01", "2026-11-02") == ["11-01 01:30:00 -0400"]
    # A clock that is put back by half an hour, and one that is put back to midnight.
    assert ticks("45 1 * * *", LORD_HOWE, "2026-04-05", "2026-04-06") == ["04-05 01:45:00 +1100"]
    assert len(ticks("0 0 * * *", HAVANA, "2026-11-01", "2026-11-02")) == 1


def test_asking_in_the_hour_that_comes_again_gives_nothing_of_the_past():
    """A schedule that is made in the second of the two hours ticks the next day."""
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 winter time
    assert cron_after("30 2 * * *", BERLIN, second) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_an_hour_or_minute_with_a_star_goes_by_time_that_passes(day, hours):
    """Every half hour is every half hour, whatever the clocks say."""
    place = ZoneInfo(BERLIN)
    start = datetime.fromisoformat(day).replace(tzinfo=place)
    until = (start + timedelta(days=1)).isoformat(sep=" ")[:19]
    assert len(ticks("*/30 * * * *", BERLIN, day, until)) == hours * 2
    assert len(ticks("15 * * * *", BERLIN, day, until)) == hours


def test_seconds_follow_the_same_rules():
    """With seconds a time that is left out is made up for just so, and none comes twice."""
    assert ticks("0,20 30 2 * * *", BERLIN, "2026-03-29", "2026-03-30") == [
        "03-29 03:00:00 +0200",
        "03-29 03:00:20 +0200",
    ]
    assert ticks("5 30 2 * * *", BERLIN, "2026-10-25", "2026-10-26") == ["10-25 02:30:05 +0200"]
    assert ticks("*/20 * * * * *", "UTC", "2026-01-01 00:00:02", "2026-01-01 00:01:01") == [
        "01-01 00:00:20 +0000",
        "01-01 00:00:40 +0000",
        "01-01 00:01:00 +0000",
    ]


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*", "*/7", "1,15,59", "10-20/5"]),
    st.sampled_from(["*", "0", "1", "2", "2,3", "*/6", "1-3", "23"]),
    st.sampled_from(["*", "1", "29", "31", "L", "*/10"]),
    st.sampled_from(["*", "3", "10,11", "3-4"]),
    st.sampled_from(["*", "0", "SUN", "MON-FRI", "5L", "SUN#2"]),
).map(" ".join)
ZONES = st.sampled_from(["UTC", BERLIN, NEW_YORK, LORD_HOWE, HAVANA, "Pacific/Apia", "Asia/Tehran"])
MOMENTS = st.integers(
    int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2030, 1, 1, tzinfo=UTC).timestamp()),
).map(lambda at: datetime.fromtimestamp(at, UTC))
CHANGES = st.sampled_from(
    [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 7, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    ]
)
NEAR = st.builds(lambda at, by: at + timedelta(minutes=by), CHANGES, st.integers(-180, 180))


@settings(max_examples=300, deadline=None)
@given(
    cron=FIELDS, seconds=st.sampled_from(["", "0 ", "*/30 ", "7 "]), zone=ZONES, at=MOMENTS | NEAR
)
def test_ticks_always_follow_each_other(cron, seconds, zone, at):
    """Each is later than the one before, and the next one does not hang on where one asks from."""
    expression = seconds + cron
    if cron_fault(expression) is not None:
        return
    before = at
    for _ in range(5):
        tick = cron_after(expression, zone, before)
        if tick is None:
            return
        assert tick > before
        between = before + (tick - before) / 2
        assert cron_after(expression, zone, between) in (tick, None) or between == before
        before = tick


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("0 0 31 2 *", "ever fires"),
        ("0 0 30 2,2 *", "ever fires"),
        ("0 0 5 5 5#9", "ever fires"),
        ("60 * * * *", "Bad minute"),
        ("* * * *", "this has 4"),
        ("", "this has 0"),
        ("* * * * * * *", "this has 7"),
        ("R R * * *", "Bad minute"),
        ("@daily", "this has 1"),
        ("*/0 * * * *", "Bad minute"),
        ("0 0 * * \u0661", "Bad day-of-week"),
        (",".join(["1"] * 400) + " * * * *", "at most"),
    ],
)
def test_what_is_no_expression_says_why(cron, says):
    """One that never fires is as wrong as one that cannot be read."""
    assert says in (cron_fault(cron) or "")


def test_what_ticks_seldom_is_fine():
    """The 29th of February comes."""
    assert cron_fault("0 0 29 2 *") is None
    assert cron_after("0 0 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(
        2028, 2, 29, tzinfo=UTC
    )


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "europe/berlin", "\x00"])
def test_what_is_no_zone_is_said_to_be_none(zone):
    """Only what IANA lists, letter by letter."""
    assert zone_fault(zone) is not None
    assert zone_fault("Europe/Berlin") is None
