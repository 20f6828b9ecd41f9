"""A TCP link between one process and one server, which misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Literal

__all__ = ["Condition", "Link", "reset"]

#: `cut` refuses connections and ends those that are open; `hole` lets nothing through, for as long
#: as it lasts; `up_only` brings requests to the server and loses its answers; `slow` delays both.
Condition = Literal["well", "cut", "hole", "up_only", "slow"]

#: Seconds that a slow link adds to each piece that it forwards.
_DELAY = 0.15
_PIECE = 65_536
_NO_FAREWELL = struct.pack("ii", 1, 0)


class Link:
    """Forwards TCP from a port of its own to a server's."""

    def __init__(self, name: str, upstream: int) -> None:
        """Prepare the link to a server's port on loopback."""
        self.name = name
        self.port = 0
        self._upstream = upstream
        self._condition: Condition = "well"
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Accept connections, at the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def become(self, condition: Condition) -> None:
        """Change what happens to what is sent from now on."""
        before, self._condition = self._condition, condition
        if condition == "hole":
            self._flowing.clear()
        else:
            self._flowing.set()
        if condition == "cut" and self._server is not None:
            self._server.close()
            self._server = None
            self.reset()
        elif before == "cut" and condition != "cut":
            await self.open()
        elif before == "up_only":
            self.reset()  # answers are missing from these streams

    def reset(self) -> None:
        """End every connection that is open with RST, as a fail-over does."""
        for writer in list(self._writers):
            reset(writer)

    async def close(self) -> None:
        """Close the link for good."""
        await self.become("cut")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        mine = {writer}
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            with contextlib.suppress(OSError):
                answers, requests = await asyncio.open_connection("127.0.0.1", self._upstream)
                mine.add(requests)
                self._writers.add(requests)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._forward(reader, requests, mine, is_answer=False))
                    both.create_task(self._forward(answers, writer, mine, is_answer=True))
        except asyncio.CancelledError:
            pass  # the link is closed; asyncio would report a cancelled handler as an error
        finally:
            for each in mine:
                each.transport.abort()
            self._writers -= mine
            self._tasks.discard(task)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        *,
        is_answer: bool,
    ) -> None:
        """Forward one direction; when it ends, the whole connection does."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE):
                if self._condition == "slow":
                    await asyncio.sleep(_DELAY)
                await self._flowing.wait()
                if is_answer and self._condition == "up_only":
                    continue
                writer.write(data)
                await writer.drain()
        for each in both:
            each.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    socket_ = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_FAREWELL)
    writer.transport.abort()
