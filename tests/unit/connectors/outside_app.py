"""A little HTTP server that answers with exactly the bytes that a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ["App", "Asked", "reply"]


@dataclass
class Asked:
    """A request as the server read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    #: Which of the server's connections it came on, from 0.
    connection: int
    #: Whether the client has hung up since.
    is_over: Callable[[], bool]


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[bytes | None] | bytes | None]


@dataclass
class App:
    """An outside app on a free port. `answer` returns bytes, or writes them itself."""

    answer: Answer = lambda asked, _: reply(b"{}")
    asked: list[Asked] = field(default_factory=list)
    #: Connections that were opened, and those that are open now.
    opened: int = 0
    connected: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    scheme: str = "http"
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.opened, self.connected = self.opened, self.opened + 1, self.connected + 1
        try:
            while (asked := await _read(reader, number)) is not None:
                self.asked.append(asked)
                data = self.answer(asked, writer)
                if asyncio.iscoroutine(data):
                    data = await data
                if data is None:
                    break
                writer.write(data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.connected -= 1
            if not self.connected:
                self.ended.set()


async def _read(reader: asyncio.StreamReader, number: int) -> Asked | None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Asked(method, target, headers, body, number, reader.at_eof)
    return None


def reply(
    body: bytes = b"",
    status: str = "200 OK",
    content_type: str = "application/json",
    **headers: str,
) -> bytes:
    """Return a whole answer as bytes; `retry_after="1"` is the header retry-after."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    if content_type:
        lines.append(f"content-type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
