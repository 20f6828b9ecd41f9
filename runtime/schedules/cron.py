"""Cron expressions with an IANA time zone, over a library that knows what clock changes do.

An hour or minute that begins with `*` goes by time that really passes. Any other names moments of
the day, as in Debian's cron: one that a clock change leaves out comes at the first moment that
exists, one that comes twice counts once. The library treats seconds otherwise, so they are laid
over its minutes here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

__all__ = ["cron_after", "cron_fault", "zone_fault"]

_FIELDS, _FIELDS_WITH_SECONDS = 5, 6
_SECOND = timedelta(seconds=1)
#: Nobody's expression is longer: a minute, an hour and a day that list everything have 330.
_LONGEST = 500
#: A moment from which on it is looked whether there is a tick at all; any will do.
_SOMETIME = datetime(2024, 1, 1, tzinfo=UTC)


def cron_fault(expression: str) -> str | None:
    """Return what is wrong with an expression, None if nothing is."""
    fields = expression.split()
    if len(fields) not in (_FIELDS, _FIELDS_WITH_SECONDS):
        return (
            f"a cron expression has 5 fields (minute, hour, day, month, weekday), or 6 with seconds"
            f" first; this has {len(fields)}"
        )
    if len(expression) > _LONGEST:
        return f"a cron expression has at most {_LONGEST} characters"
    try:
        CronSim(expression, _SOMETIME)
    except CronSimError as error:
        return f"is not a cron expression that ever fires: {error}"
    if cron_after(expression, "UTC", _SOMETIME) is None:
        return "never fires: no date fits all its fields"
    return None


def zone_fault(zone: str) -> str | None:
    """Return what is wrong with the name of a time zone, None if nothing is."""
    if zone in _zones():
        return None
    return "is not a time zone; name one as IANA does, such as Europe/Berlin or UTC"


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=16_384)
def cron_after(expression: str, zone: str, after: datetime) -> datetime | None:
    """Return the first tick after a moment, in UTC; None if there is none in fifty years.

    Many schedules say the same, and so are answered from memory.
    """
    fields = expression.split()
    seconds = [0]
    if len(fields) == _FIELDS_WITH_SECONDS:
        seconds = sorted(CronSim(expression, _SOMETIME).seconds)
    begin = after.replace(second=0, microsecond=0) - _SECOND
    place = UTC if zone == "UTC" else ZoneInfo(zone)
    for minute in CronSim(" ".join(fields[-_FIELDS:]), begin.astimezone(place)):
        start = minute.astimezone(UTC)
        for second in seconds:
            if (tick := start + second * _SECOND) > after:
                return tick
    return None
