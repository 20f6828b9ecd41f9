"""One transaction for both ways to the database: the ORM's session and psycopg's connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from sqlmodel.ext.asyncio.session import AsyncSession

__all__ = ["connection_of"]


@asynccontextmanager
async def connection_of(session: AsyncSession) -> AsyncIterator[AsyncConnection[DictRow]]:
    """Yield the connection that a session works on, inside the session's transaction.

    The session must not be used until it is given back.
    """
    await session.flush()
    pooled = await (await session.connection()).get_raw_connection()
    connection: Any = pooled.driver_connection
    before = connection.row_factory
    connection.row_factory = dict_row
    try:
        yield connection
    finally:
        connection.row_factory = before
