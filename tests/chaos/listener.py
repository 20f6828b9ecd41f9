"""A server of bare connections, which can be closed while it talks over any number of them."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod

__all__ = ["Listener"]


class Listener(ABC):
    """Serves on a port of its own from `open` to `close`."""

    def __init__(self) -> None:
        """Serve nobody yet."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk over one connection; if the other side leaves, that is all there is to it."""

    async def open(self) -> None:
        """Begin to serve."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.talk(reader, writer)
        except asyncio.CancelledError:
            pass  # closed; asyncio would report a cancelled handler as an error
        finally:
            writer.close()
            self._tasks.discard(task)
