"""A TCP proxy in front of Valkey that misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager


class FaultyProxy:
    """Forwards; the next answer that holds the bytes `lose` is lost, and the line with it."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.lose: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()
        self._server: asyncio.Server | None = None
        self._is_cut = False

    async def open(self) -> None:
        """Accept connections, on the same port as before if there was one."""
        self._is_cut = False
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and end all that are open."""
        self._server.close()
        self._is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def _serve(self, reader, writer) -> None:
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError):
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._writers |= {writer, upstream[1]}
            if self._is_cut:  # it was accepted before the cut, and connected only after it
                writer.transport.abort()
                upstream[1].transport.abort()
            await asyncio.gather(self._pump(reader, upstream[1]), self._answer(upstream[0], writer))
        self._tasks.discard(asyncio.current_task())

    async def _pump(self, reader, writer) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _answer(self, reader, writer) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.lose is not None and self.lose in data:
                    self.lose = None
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def faulty_proxy(upstream: int):
    proxy = FaultyProxy(upstream)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.cut()
