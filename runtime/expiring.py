"""A bounded cache that forgets by age, for secrets and yes-answers that must not grow old."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from runtime import clock

__all__ = ["Expiring"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Expiring(Generic[Key, Value]):
    """At most `largest` values, each for at most `age` seconds after it was put.

    When it is full, the value that was unused for longest goes. Threads may share it.
    """

    def __init__(self, *, age: float, largest: int) -> None:
        """Keep at most `largest` values for `age` seconds."""
        self._age = age
        self._largest = largest
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many values are held, those included whose age nobody has noticed yet."""
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the value, or None if there is none or it is too old."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            put_at, value = entry
            if clock.monotonic() - put_at > self._age:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> None:
        """Hold a value from now on; its age does not grow back by being read."""
        with self._lock:
            self._entries[key] = (clock.monotonic(), value)
            self._entries.move_to_end(key)
            if len(self._entries) > self._largest:
                self._entries.popitem(last=False)
