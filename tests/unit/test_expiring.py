"""The bounded cache that forgets by age."""

from __future__ import annotations

from runtime import clock
from runtime.expiring import Expiring


def test_the_cache_is_bounded_and_drops_what_was_unused_longest():
    """Beyond its bound the value that nobody asked for goes first; reading does not rejuvenate."""
    cache = Expiring[str, int](age=60, largest=2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)


def test_a_cached_value_grows_old_though_it_is_read(monkeypatch):
    """Age counts from when a value was put, however often it is read meanwhile."""
    moment = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: moment[0])
    cache = Expiring[str, int](age=5, largest=2)
    cache.put("a", 1)
    for moment[0] in (1002.0, 1004.0, 1005.0):
        assert cache.get("a") == 1
    moment[0] = 1005.1
    assert cache.get("a") is None
    assert len(cache) == 0
