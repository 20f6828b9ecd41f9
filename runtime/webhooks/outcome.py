"""What one attempt came to, and when the next one is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

__all__ = ["DELAYS", "Outcome", "next_try", "quiet_time", "retry_after"]

#: Seconds between the attempts at one delivery; after the last it has failed.
DELAYS = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
#: Part of a delay by which it is longer at random, so that what failed together does not come
#: back together.
_JITTER = 0.2
#: From this failed attempt in a row on, an endpoint is left alone for a while after each.
_PATIENT = 3
#: Seconds of that, the first and the longest.
_QUIET, _LONGEST_QUIET = 5.0, 300.0
#: Longest wait that an endpoint can ask for, in seconds.
_LONGEST_WAIT = 36_000.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an endpoint answered, or why it did not."""

    #: The status; None if there was no answer.
    status: int | None = None
    error: str | None = None
    #: The beginning of what it said.
    answer: str | None = None
    #: Seconds for which it asks to be left alone.
    wait: float | None = None
    duration: float = 0.0

    @property
    def is_delivered(self) -> bool:
        """Return whether the endpoint took it."""
        return self.status is not None and HTTPStatus(200) <= self.status < HTTPStatus(300)

    @property
    def is_gone(self) -> bool:
        """Return whether the endpoint wants to hear nothing any more."""
        return self.status == HTTPStatus.GONE

    def recorded(self, at: datetime) -> dict[str, Any]:
        """Return what the log keeps of the attempt."""
        return {
            "at": at.isoformat(),
            "statusCode": self.status,
            "duration": round(self.duration * 1000, 1),
            "error": self.error,
            "answer": self.answer,
        }


def next_try(
    tries: int, wait: float | None, spread: Callable[[], float] = random.random
) -> float | None:
    """Return the seconds until the next attempt after `tries` of them; None after the last.

    `spread` returns a number from 0 to 1.
    """
    if tries > len(DELAYS):
        return None
    return max(DELAYS[tries - 1] * (1 + _JITTER * spread()), wait or 0.0)


def quiet_time(failures: int, wait: float | None) -> float:
    """Return the seconds for which an endpoint is left alone after so many failures in a row."""
    own = 0.0
    if failures >= _PATIENT:
        own = min(_LONGEST_QUIET, _QUIET * 2.0 ** min(failures - _PATIENT, 16))
    return max(own, wait or 0.0)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, ten hours at most; None if none."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(0.0, seconds), _LONGEST_WAIT)
