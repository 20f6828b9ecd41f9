"""A rate limit on one account, so that a caller meets real 429 answers."""

from __future__ import annotations

import math
import time
from collections import deque

__all__ = ["Throttle"]


class Throttle:
    """Lets `requests` through in any `seconds`; with 0 requests it lets none through."""

    def __init__(self, requests: int, seconds: float) -> None:
        self.requests = requests
        self.seconds = seconds
        self._passed: deque[float] = deque()

    def wait(self) -> int:
        """Count a request. Gives 0 if it may pass, else the whole seconds until one may."""
        now = time.monotonic()
        while self._passed and self._passed[0] <= now - self.seconds:
            self._passed.popleft()
        if len(self._passed) < self.requests:
            self._passed.append(now)
            return 0
        free_at = (self._passed[0] if self._passed else now) + self.seconds
        return max(1, math.ceil(free_at - now))
