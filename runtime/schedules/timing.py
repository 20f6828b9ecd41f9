"""When a schedule ticks: its nominal times, which hang on nothing but what it says.

`spread` puts a tick off by a constant that differs from tenant to tenant; the nominal time stays
what it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt
from pydantic.alias_generators import to_camel

from runtime.errors import ConfigurationError, VesicleError
from runtime.schedules.cron import cron_after, cron_fault, zone_fault
from runtime.validation import parse

__all__ = [
    "HOW_OFTEN",
    "TIMING_FIELDS",
    "Timing",
    "first_due",
    "last_due",
    "next_after",
    "spread",
    "timing_of",
    "timing_of_config",
    "timing_of_node",
    "timing_of_text",
]

Overlap = Literal["skip", "queue", "allow"]
CatchUp = Literal["none", "last", "all"]

_YEAR = 366 * 86_400
_WEEK = 7 * 86_400
_FIRST_YEAR, _LAST_YEAR = 1970, 2200

#: Of these a schedule has exactly one.
HOW_OFTEN = ("cron", "intervalMinutes", "intervalSeconds")
#: What a trigger's config may hold besides, which is about its input.
_OF_TRIGGERS = frozenset({"inputSchema", "filter"})


def _fault_free(fault: Any) -> AfterValidator:
    def check(text: str) -> str:
        if (message := fault(text)) is not None:
            raise ValueError(message)
        return text

    return AfterValidator(check)


def _near(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        raise ValueError(f"is not a moment between {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment


Moment = Annotated[datetime, AfterValidator(_near)]


class Timing(BaseModel):
    """When a schedule ticks, and what becomes of ticks that come too late or too soon."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    cron: Annotated[str, _fault_free(cron_fault)] | None = None
    interval_minutes: float | None = Field(default=None, ge=1 / 60, le=_YEAR / 60, strict=True)
    interval_seconds: float | None = Field(default=None, ge=1, le=_YEAR, strict=True)
    #: Of the cron expression, and of moments that name none.
    timezone: Annotated[str, _fault_free(zone_fault)] = "UTC"
    start_at: Moment | None = None
    end_at: Moment | None = None
    #: What a tick does while the run of the last one is under way.
    overlap: Overlap = "skip"
    #: Which of the ticks run that nobody was there to run.
    catch_up: CatchUp = "last"
    catch_up_window_seconds: StrictInt = Field(default=86_400, ge=1, le=_WEEK)
    jitter_seconds: StrictInt = Field(default=0, ge=0, le=86_400)

    @property
    def interval(self) -> timedelta | None:
        """Return the interval, None for a cron expression."""
        if self.interval_minutes is not None:
            return timedelta(minutes=self.interval_minutes)
        if self.interval_seconds is not None:
            return timedelta(seconds=self.interval_seconds)
        return None

    @property
    def start(self) -> datetime | None:
        """Return the moment before which there is no tick."""
        return self._in_zone(self.start_at)

    @property
    def end(self) -> datetime | None:
        """Return the moment after which there is no tick."""
        return self._in_zone(self.end_at)

    def _in_zone(self, moment: datetime | None) -> datetime | None:
        if moment is None:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(self.timezone))
        return moment.astimezone(UTC)


#: What a schedule's document may say of its times.
TIMING_FIELDS = frozenset(to_camel(name) for name in Timing.model_fields)


def timing_of(
    document: Mapping[str, Any], error: type[VesicleError] = ConfigurationError
) -> Timing:
    """Return what a document says; else raise `error`, with the path of each fault."""
    timing = parse(Timing, dict(document), error, "The schedule")
    if faults := [{"path": path, "message": message} for path, message in _faults(timing)]:
        raise error(
            f"The schedule is not valid: {faults[0]['path']}: {faults[0]['message']}",
            data={"errors": faults},
        )
    return timing


def timing_of_node(config: Mapping[str, Any]) -> Timing | None:
    """Return what the config of a `schedule-trigger` says; None for one that says nothing yet."""
    document = _times_in(config)
    return timing_of(document) if document else None


def timing_of_config(config: str) -> str:
    """Return the document in the text of such a config, as it is kept with the schedule."""
    return orjson.dumps(_times_in(orjson.loads(config))).decode()


def _times_in(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _OF_TRIGGERS}


@lru_cache(maxsize=16_384)
def timing_of_text(text: str) -> Timing:
    """Return what a document says that was checked when it was written."""
    return Timing.model_validate(orjson.loads(text))


def _faults(timing: Timing) -> Iterator[tuple[str, str]]:
    given = [name for name in HOW_OFTEN if timing.model_dump(by_alias=True)[name] is not None]
    if not given:
        yield "/cron", f"a schedule has one of {', '.join(HOW_OFTEN)}"
    for name in given[1:]:
        yield f"/{name}", f"a schedule has one of {', '.join(HOW_OFTEN)}; {given[0]} is there too"
    start, end = timing.start, timing.end
    if start is not None and end is not None and end <= start:
        yield "/endAt", "is not after startAt"
    elif given and start is not None and next_after(timing, start - _TICK, start) is None:
        yield "/endAt", "there is no tick between startAt and endAt"


_TICK = timedelta(microseconds=1)


def next_after(timing: Timing, after: datetime, anchor: datetime) -> datetime | None:
    """Return the first nominal time after a moment, None if there is none.

    Intervals are counted from `startAt`, or else from `anchor`, at which there is no tick.
    """
    start = timing.start
    if start is not None and after < start:
        after = start - _TICK
    if timing.cron is not None:
        tick = cron_after(timing.cron, timing.timezone, after)
    else:
        assert timing.interval is not None  # noqa: S101 - checked when it was written
        steps = (after - (start or anchor)) // timing.interval + 1
        tick = (start or anchor) + max(steps, 0 if start else 1) * timing.interval
    return None if tick is None or (timing.end is not None and tick > timing.end) else tick


#: How far back the last tick is looked for: a bit more than a minute, an hour, a day, a month, a
#: year, and the eight years that may lie between two 29ths of February.
_LOOKS = tuple(
    timedelta(seconds=each) for each in (61, 3700, 90_000, 32 * 86_400, _YEAR, 9 * _YEAR)
)


def last_due(timing: Timing, first: datetime, until: datetime, anchor: datetime) -> datetime:
    """Return the last nominal time up to `until`; `first` is one, and not later than that."""
    if timing.cron is None:
        assert timing.interval is not None  # noqa: S101 - checked when it was written
        last = first + (until - first) // timing.interval * timing.interval
        return min(last, _before_end(timing, first)) if timing.end is not None else last
    for look in _LOOKS:
        found, tick = None, next_after(timing, max(first - _TICK, until - look), anchor)
        while tick is not None and tick <= until:
            found, tick = tick, next_after(timing, tick, anchor)
        if found is not None:
            return found
        if until - look < first:
            break
    return first


def first_due(timing: Timing, since: datetime, anchor: datetime) -> datetime | None:
    """Return the first nominal time at a moment or after it."""
    return next_after(timing, since - _TICK, anchor)


def _before_end(timing: Timing, first: datetime) -> datetime:
    assert timing.end is not None and timing.interval is not None  # noqa: S101, PT018 - the caller looked
    return first + (timing.end - first) // timing.interval * timing.interval


def spread(timing: Timing, tenant_id: UUID, what: UUID) -> timedelta:
    """Return by how much a tenant's ticks of a flow or action come after their nominal times.

    The same for ever, and another one for each tenant, so that a thousand tenants' nightly runs do
    not begin in one second.
    """
    if not timing.jitter_seconds:
        return timedelta()
    digest = hashlib.sha256(tenant_id.bytes + what.bytes).digest()
    return timedelta(milliseconds=int.from_bytes(digest[:8]) % (timing.jitter_seconds * 1000))
