"""Puts refused messages on record, so that an operator finds them when Redis is long gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import uuid_utils.compat
from psycopg import sql

from runtime.db import Database
from runtime.errors import ServiceUnavailableError

__all__ = ["Letter", "Letters"]

log = structlog.get_logger(__name__)

#: Characters of a refused message that are kept.
_LARGEST = 8192
#: Letters that wait for the database; beyond them the oldest is only in the log and in Redis.
_WAITING = 1000
#: Seconds that a stopping process has to write what is left.
_LAST_WORDS = 3.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A refused message. What it says of itself is kept, and not believed."""

    message_id: str
    queue: str
    actor: str | None
    reason: str
    payload: str


class Letters:
    """Collects dead letters from anywhere on the loop and writes them one after the other."""

    def __init__(self) -> None:
        """Collect from now on; they are written once a database is there."""
        self._waiting: asyncio.Queue[Letter] = asyncio.Queue()

    def add(self, letter: Letter) -> None:
        """Take a letter; never blocks, never raises."""
        log.warning("message.dead", message_id=letter.message_id, reason=letter.reason)
        if self._waiting.qsize() >= _WAITING:
            self._waiting.get_nowait()
            self._waiting.task_done()
        self._waiting.put_nowait(letter)

    @asynccontextmanager
    async def kept_in(self, database: Database) -> AsyncIterator[None]:
        """Write letters while the block lasts, and what is left at its end."""
        task = asyncio.create_task(self._write(database))
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._waiting.join()
            task.cancel()

    async def _write(self, database: Database) -> None:
        while True:
            letter = await self._waiting.get()
            try:
                async with database.unscoped("worker") as connection:
                    await connection.execute(
                        sql.SQL(
                            "INSERT INTO dead_letters (id, message_id, queue, actor, reason,"
                            " payload) VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
                        ),
                        (
                            uuid_utils.compat.uuid7(),
                            _plain(letter.message_id)[:200],
                            letter.queue,
                            letter.actor and _plain(letter.actor)[:200],
                            letter.reason[:500],
                            _plain(letter.payload)[:_LARGEST],
                        ),
                    )
            except ServiceUnavailableError:
                self._waiting.put_nowait(letter)
                await asyncio.sleep(1.0)
            finally:
                self._waiting.task_done()


def _plain(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
