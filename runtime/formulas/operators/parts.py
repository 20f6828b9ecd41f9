"""Operators that take a part out of a value: of a name, an address, a date, a record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from runtime.formulas.likeness import is_nothing
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED, kind_of

__all__ = [
    "domain_from_email",
    "extract_date",
    "extract_time",
    "first_name",
    "last_name",
    "record",
]

#: Characters of a text that is read as a moment.
_LONGEST_MOMENT = 100


def first_name(argument: Source) -> Step:
    """`{"$firstName": "Ada King Lovelace"}`: all words but the last; of one word nothing."""
    return _of_text(argument, lambda text: " ".join(text.split()[:-1]) or UNDEFINED)


def last_name(argument: Source) -> Step:
    """`{"$lastName": "Ada King Lovelace"}`: the last word."""
    return _of_text(argument, lambda text: next(reversed(text.split()), UNDEFINED))


def domain_from_email(argument: Source) -> Step:
    """`{"$domainFromEmail": "ada@example.com"}`: what follows the @, if there is exactly one."""

    def domain(text: str) -> Any:
        name, at, domain = text.strip().partition("@")
        return domain if at and name and domain and "@" not in domain else UNDEFINED

    return _of_text(argument, domain)


def extract_date(argument: Source) -> Step:
    """`{"$extractDate": "2026-01-31T23:30:00-02:00"}`: the day in UTC, `2026-02-01`."""
    return _of_moment(argument, lambda moment: moment.strftime("%Y-%m-%d"))


def extract_time(argument: Source) -> Step:
    """`{"$extractTime": "2026-01-31T23:30:00-02:00"}`: the time of day in UTC, `01:30:00`."""
    return _of_moment(argument, lambda moment: moment.strftime("%H:%M:%S"))


def record(argument: Source) -> Step:
    """`{"$record": {"id": …}}`: the id of a record."""
    step = argument.compile_to_read()

    def run(state: State) -> Any:
        value = step(state)
        if is_nothing(value):
            return UNDEFINED
        if not isinstance(value, dict):
            argument.refuse("$record takes a record, an object with an `id`.", found=kind_of(value))
        return value.get("id", UNDEFINED)

    return run


def _of_text(argument: Source, take: Callable[[str], Any]) -> Step:
    """Return the step that takes a part of a text; nothing has no parts."""
    step = argument.compile_to_read()

    def run(state: State) -> Any:
        value = step(state)
        if is_nothing(value):
            return UNDEFINED
        if not isinstance(value, str):
            argument.refuse(f"{argument.operator} takes a text.", found=kind_of(value))
        state.budget.build(len(value))
        return take(value)

    return run


def _of_moment(argument: Source, show: Callable[[datetime], str]) -> Step:
    """Return the step that shows a part of a moment; what is none gives nothing."""
    step = argument.compile_to_read()

    def run(state: State) -> Any:
        value = step(state)
        if is_nothing(value):
            return UNDEFINED
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            argument.refuse(
                f"{argument.operator} takes a date as text, or as milliseconds since 1970.",
                found=kind_of(value),
            )
        moment = _moment(value)
        return UNDEFINED if moment is None else show(moment)

    return run


def _moment(value: str | float) -> datetime | None:
    """Return a moment in UTC from ISO 8601, RFC 5322 or milliseconds; without a zone it is UTC."""
    try:
        if not isinstance(value, str):
            return datetime.fromtimestamp(value / 1000, UTC)
        text = value.strip()[:_LONGEST_MOMENT]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        return None
