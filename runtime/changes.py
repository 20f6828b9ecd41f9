"""Hears from PostgreSQL what changed, so that every process forgets what it knew.

The database itself tells of each change as it is committed (models/database.sql), so no process can
die between a change and the word of it. What was committed before a round trip on the listening
connection has been heard when that ends: `heard_until` says up to when nothing was missed, and
caches (runtime/cache.py) believe what they know for as long as that is recent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeAlias
from uuid import UUID, uuid4

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from runtime.clock import monotonic
from runtime.round_trip import Query, round_trip

__all__ = ["Change", "Changes", "Heed"]

_CHANNEL = "vesicle_changes"
_SIGN_OF_LIFE = Query("SELECT 1")
#: Seconds between two round trips while nothing happens, and at least between two in any case.
_LOOK, _PACE = 0.5, 0.005
#: Seconds for an answer; after them the connection is given up.
_PATIENCE = 5.0
#: Seconds for a word to arrive when a connection is tried, and how that word begins.
_TRIAL, _TRIED = 2.0, "trial:"
#: Seconds before a lost connection is opened again, and one on which no word arrives.
_RETRY, _UNHEARD = 0.5, 30.0

log = structlog.get_logger()


class Change(NamedTuple):
    """What changed; None stands for all that there could be."""

    table: str | None = None
    #: None also if the universe has changed, which is everybody's.
    workspace_id: UUID | None = None
    #: Whose things alone have changed; None if they are the whole workspace's.
    tenant_id: UUID | None = None


Heed: TypeAlias = Callable[[Change], None]


class Changes:
    """What one process hears of changes, and who in it wants to know."""

    def __init__(self, url: str) -> None:
        """Listen under any role's login; nothing is opened before `listen`.

        The URL has to lead to a session of its own: through a pooler that lends sessions by the
        transaction no word arrives, which is noticed, and then `heard_until` stays in the past.
        """
        self._url = url
        self._heeds: list[Heed] = []
        #: The word by which a connection is tried, until it is heard.
        self._trial = ""
        #: Every change that was committed before this moment (runtime.clock.monotonic) was told.
        self.heard_until = float("-inf")

    def heed(self, heed: Heed) -> None:
        """Call `heed` for each change from now on."""
        self._heeds.append(heed)

    def tell(self, change: Change) -> None:
        """Tell this process of a change of its own, which is committed; others hear it anyway."""
        for heed in self._heeds:
            heed(change)

    async def listen(self) -> None:
        """Hear changes until cancelled; survives the loss of PostgreSQL."""
        while True:
            wait = _RETRY
            try:
                async with await AsyncConnection.connect(
                    self._url, autocommit=True, row_factory=dict_row
                ) as connection:
                    if await self._hears(connection):
                        await self._attend(connection)
                log.warning("changes.unheard", hint="LISTEN needs a session of its own")
                wait = _UNHEARD
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.warning("changes.connection_lost", error=type(error).__name__)
            await asyncio.sleep(wait)

    async def _hears(self, connection: AsyncConnection[DictRow]) -> bool:
        """Begin to listen; return whether a word arrives that another session sends meanwhile."""
        await connection.execute(f"LISTEN {_CHANNEL}")
        self._trial = f"{_TRIED}{uuid4()}"
        async with await AsyncConnection.connect(self._url, autocommit=True) as other:
            await other.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, self._trial))
        deadline = monotonic() + _TRIAL
        while self._trial and monotonic() < deadline:
            if await _arrival(connection, deadline - monotonic()):
                await self._hear(connection)
        return not self._trial

    async def _attend(self, connection: AsyncConnection[DictRow]) -> NoReturn:
        """Tell what is heard, for as long as the connection lasts."""
        self.tell(Change())  # what was changed while nobody listened is unknown
        while True:
            began = monotonic()
            await self._hear(connection)
            self.heard_until = began
            await asyncio.sleep(_PACE)
            await _arrival(connection, _LOOK)

    async def _hear(self, connection: AsyncConnection[DictRow]) -> None:
        """Heed whatever was committed before this. Raises psycopg.Error, TimeoutError."""
        async with asyncio.timeout(_PATIENCE):
            await round_trip(connection, (_SIGN_OF_LIFE,))
        while (notify := connection.pgconn.notifies()) is not None:
            self._heed(notify.extra.decode())

    def _heed(self, word: str) -> None:
        """Heed a word of the database's, `table/workspace/tenant`, or of a trial."""
        if word.startswith(_TRIED):
            if word == self._trial:
                self._trial = ""
            return
        table, *ids = word.split("/")
        with contextlib.suppress(ValueError, TypeError):  # a stranger's word
            self.tell(Change(table, *map(UUID, ids)))


async def _arrival(connection: AsyncConnection[DictRow], seconds: float) -> bool:
    """Wait for something to read; return False if nothing came in time."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    descriptor = connection.fileno()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(seconds):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
