"""How fast posts may come in under one key: a bucket of tokens for each, in one process."""

from __future__ import annotations

import math
from collections import OrderedDict

from runtime import clock
from runtime.errors import RateLimitExceededError

__all__ = ["Rates"]

#: Keys that are remembered; whoever was quiet for longest is forgotten, and may begin anew.
_LARGEST = 10_000


class Rates:
    """So many a second for each key, and as many at once as come in `burst` seconds."""

    def __init__(self, per_second: float, *, burst: float = 5.0) -> None:
        """Let `per_second` through for each key."""
        self._rate = per_second
        self._most = max(1.0, per_second * burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, count: int = 1) -> None:
        """Let `count` through under a key. Raises RateLimitExceededError with `Retry-After`."""
        now = clock.monotonic()
        left, at = self._buckets.pop(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        # What is larger than the bucket goes through when it is full, and is paid for afterwards.
        fits = left >= min(count, self._most)
        self._buckets[key] = (left - count if fits else left, now)
        if len(self._buckets) > _LARGEST:
            self._buckets.popitem(last=False)
        if fits:
            return
        wait = max(1, math.ceil((min(count, self._most) - left) / self._rate))
        raise RateLimitExceededError(
            f"More than {self._rate:g} events a second came in here. Send this again in {wait} s.",
            data={"limit": self._rate, "retryAfter": wait},
            headers={"Retry-After": str(wait)},
        )
