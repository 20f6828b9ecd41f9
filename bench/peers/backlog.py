"""What a peer still has to do, asked from outside: in Redis or in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import LiteralString

import psycopg
import redis

__all__ = ["Backlog", "in_postgres", "in_redis"]

#: Opens what answers how many messages are left, at the peer's URL.
Backlog = Callable[[str], AbstractContextManager[Callable[[], int]]]


def in_redis(left: Callable[[redis.Redis], int]) -> Backlog:
    """Return a backlog that is counted by Redis commands."""

    @contextmanager
    def opened(url: str) -> Iterator[Callable[[], int]]:
        with redis.Redis.from_url(url) as client:
            yield lambda: left(client)

    return opened


def in_postgres(count: LiteralString) -> Backlog:
    """Return a backlog that is counted by a statement with one number for an answer."""

    @contextmanager
    def opened(url: str) -> Iterator[Callable[[], int]]:
        with psycopg.connect(url, autocommit=True) as connection:

            def left() -> int:
                row = connection.execute(count).fetchone()
                assert row is not None  # noqa: S101 - a count has one row
                return int(row[0])

            yield left

    return opened
