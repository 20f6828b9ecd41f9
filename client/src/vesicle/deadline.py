"""How long a caller is willing to wait, over all the requests that its call takes."""

from __future__ import annotations

import math
from time import monotonic

__all__ = ["Deadline"]


class Deadline:
    """A moment that many seconds from now; None means that there is none."""

    def __init__(self, seconds: float | None) -> None:
        """Start the clock."""
        self.seconds = seconds
        self._at = math.inf if seconds is None else monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left, infinite without a deadline, never negative."""
        return max(0.0, self._at - monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0
