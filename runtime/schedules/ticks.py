"""What becomes of a schedule whose time has come: which ticks run, which do not, what is next.

Pure: it looks at no clock but the moment that it is given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runtime.schedules.timing import Timing, first_due, last_due, next_after

__all__ = ["OLDEST", "Due", "Outcome", "outcome_of", "run_id_of"]

#: A tick that is later than this is one that was missed.
_MISSED = timedelta(minutes=5)
#: Ticks of one schedule that are made up for in one go; the others follow at once.
_BURST = 100
#: A held tick is looked at again after a tenth of the time it has waited, within these bounds.
_SOONEST, _LATEST = timedelta(seconds=1), timedelta(seconds=30)

#: How old a tick may be to have its time in its run's id: runs of last month have a partition.
OLDEST = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule whose time has come."""

    timing: Timing
    #: From which intervals are counted.
    anchor: datetime
    #: By how much its ticks are put off.
    offset: timedelta
    #: The tick that is due.
    nominal: datetime
    is_held: bool
    #: Whether the run of the last tick has not ended.
    is_busy: bool
    #: Whether the tenant's backlog has no room.
    is_full: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a schedule comes to."""

    #: The nominal times of the ticks that run now.
    ticks: tuple[datetime, ...]
    #: The tick that comes next and when to look at it; None for none.
    nominal: datetime | None
    next_at: datetime | None
    is_held: bool = False
    #: The last tick that does not run, and why.
    skipped: datetime | None = None
    reason: str | None = None


def outcome_of(due: Due, now: datetime) -> Outcome:
    """Return what becomes of a schedule at this moment."""
    if due.is_full:
        return _skipped(due, now, "backlog_full")
    if due.is_held:
        return _held(due, now)
    if due.is_busy and due.timing.overlap == "skip":
        return _skipped(due, now, "overlap")
    if due.is_busy and due.timing.overlap == "queue":
        return _wait(due, now)
    return _caught_up(due, now)


def run_id_of(schedule_id: UUID, tick: datetime, offset: timedelta, now: datetime) -> UUID:
    """Return the id of a tick's run: the same whoever fires the tick, so that it has one run only.

    A UUIDv7 of when the tick is due, `offset` after its nominal time, so that a lane takes ticks in
    their order; of `now` for a tick that is older than the table of runs reaches back for sure.
    """
    at = tick + offset
    if now - at >= OLDEST:
        at = now
    name = schedule_id.bytes + tick.astimezone(UTC).isoformat().encode()
    tail = int.from_bytes(hashlib.sha256(name).digest()[:10])
    tail = tail & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62  # version 7, RFC 9562
    return UUID(int=int(at.timestamp() * 1000) << 80 | tail)


def _caught_up(due: Due, now: datetime) -> Outcome:
    """Run what is due, and of what was missed as much as the schedule says."""
    until = now - due.offset
    timing, first = due.timing, due.nominal
    last = last_due(timing, first, until, due.anchor)
    if timing.catch_up == "all":
        return _made_up_for(due, now)
    if timing.catch_up == "none" and until - last > _MISSED:
        return _skipped(due, now, "missed")
    outcome = _then(due, (last,), last)
    if first == last:
        return outcome
    return replace(outcome, skipped=_before(due, last), reason="missed")


def _made_up_for(due: Due, now: datetime) -> Outcome:
    """Run all that is due within the window, one after the other unless they may overlap."""
    until = now - due.offset
    first, dropped = _within_window(due, until)
    if first is None or first > until:
        return _skipped(due, now, "missed")
    ticks = [first]
    most = _BURST if due.timing.overlap == "allow" else 1
    following = next_after(due.timing, first, due.anchor)
    while following is not None and following <= until and len(ticks) < most:
        ticks.append(following)
        following = next_after(due.timing, following, due.anchor)
    outcome = _then(due, tuple(ticks), ticks[-1])
    if following is not None and following <= until and due.timing.overlap != "allow":
        outcome = replace(outcome, is_held=True)
    return replace(outcome, skipped=dropped, reason="missed") if dropped else outcome


def _held(due: Due, now: datetime) -> Outcome:
    """Run the tick that waited longest, once the run before it has ended."""
    if due.is_busy:
        return _wait(due, now)
    until = now - due.offset
    first, dropped = _within_window(due, until)
    if first is None or first > until:
        return _skipped(due, now, "too_old")
    outcome = _then(due, (first,), first)
    more = outcome.nominal is not None and outcome.nominal <= until
    outcome = replace(outcome, is_held=more)
    return replace(outcome, skipped=dropped, reason="too_old") if dropped else outcome


def _wait(due: Due, now: datetime) -> Outcome:
    first, dropped = _within_window(due, now - due.offset)
    if first is None or first > now - due.offset:
        return _skipped(due, now, "too_old")
    pause = min(max((now - due.offset - first) / 10, _SOONEST), _LATEST)
    return Outcome((), first, now + pause, True, dropped, "too_old" if dropped else None)


def _skipped(due: Due, now: datetime, reason: str) -> Outcome:
    """Run none of the ticks that are due."""
    last = last_due(due.timing, due.nominal, now - due.offset, due.anchor)
    return replace(_then(due, (), last), skipped=last, reason=reason)


def _within_window(due: Due, until: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the first tick that is not too old to run, and the last one before it that is."""
    oldest = until - timedelta(seconds=due.timing.catch_up_window_seconds)
    if due.nominal >= oldest:
        return due.nominal, None
    first = first_due(due.timing, oldest, due.anchor)
    return first, last_due(due.timing, due.nominal, oldest, due.anchor)


def _before(due: Due, last: datetime) -> datetime:
    """Return the last tick before one that is not the first."""
    return last_due(due.timing, due.nominal, last - timedelta(microseconds=1), due.anchor)


def _then(due: Due, ticks: tuple[datetime, ...], last: datetime) -> Outcome:
    following = next_after(due.timing, last, due.anchor)
    return Outcome(ticks, following, None if following is None else following + due.offset)
