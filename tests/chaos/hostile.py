"""An outside app that does everything wrong, each path in its own way, and counts who asks."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from tests.chaos.link import reset
from tests.chaos.listener import Listener

__all__ = ["HOSTILE", "HUGE", "HostileApp", "most_calls"]

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_PIECE = bytes(65_536)


def _answer(status: str, *fields: str, body: bytes = b"{}") -> bytes:
    length = f"Content-Length: {len(body)}"
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", length, *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def _forever(head: bytes, piece: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    yield head
    while True:
        yield piece
        await asyncio.sleep(pause)


async def _nothing() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def _once(answer: bytes) -> AsyncIterator[bytes]:
    yield answer


async def _bomb() -> AsyncIterator[bytes]:
    """Ten megabytes in ten kilobytes, again and again."""
    member = gzip.compress(bytes(10_000_000))
    yield _OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"%x\r\n%s\r\n" % (len(member), member)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

#: What a path does; those that are huge try for the memory of who reads.
HUGE: Mapping[str, Callable[[], AsyncIterator[bytes]]] = {
    "5 GB body": lambda: _forever(_OK + b"Content-Length: 5000000000\r\n\r\n", _PIECE),
    "gzip bomb": _bomb,
    "endless chunks": lambda: _forever(_CHUNKED, _chunk(_PIECE)),
}
HOSTILE: Mapping[str, Callable[[], AsyncIterator[bytes]]] = {
    "never answers": _nothing,
    "tar-pit": lambda: _forever(_OK + b"Content-Length: 1000\r\n\r\n", b" ", 0.3),
    "endless headers": lambda: _forever(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 500),
    "endless redirects": lambda: _once(_answer("302 Found", "Location: /endless redirects")),
    "429 for 30 years": lambda: _once(_answer("429 No", "Retry-After: 1000000000")),
    "429 until the past": lambda: _once(
        _answer("429 No", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")
    ),
    "429 until garbage": lambda: _once(_answer("429 No", "Retry-After: soon\x7f; -1e309")),
    "wrong length": lambda: _once(_OK + b'Content-Length: 5000\r\n\r\n{"cut'),
    "reset": lambda: _once(_OK + b"Content-Length: 5000\r\n\r\n"),
    "invalid text": lambda: _once(_answer("200 OK", body=b'{"name": "M\xfcller \xff\xfe"}')),
    "deep JSON": lambda: _once(_answer("200 OK", body=b"[" * 100_000)),
    "no HTTP": lambda: _once(b"SSH-2.0-OpenSSH_9.2\r\n"),
}
_FAREWELLS: Mapping[str, Callable[[asyncio.StreamWriter], object]] = {"reset": reset}


def most_calls(path: str) -> int:
    """Return how often a run may call a path: once, once more after a 429, and along redirects."""
    return 6 if "redirects" in path else 2 if "429" in path else 1


class HostileApp(Listener):
    """An app that answers each path in a bad way of its own."""

    def __init__(self) -> None:
        """Take no calls yet."""
        super().__init__()
        self.calls: Counter[str] = Counter()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, in the way that its path says."""
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode().lstrip("/").replace("%20", " ")
        self.calls[path] += 1
        await _until_gone(reader, self._say(path, writer))

    async def _say(self, path: str, writer: asyncio.StreamWriter) -> None:
        async for piece in (HOSTILE | HUGE)[path]():
            writer.write(piece)
            await writer.drain()
        _FAREWELLS.get(path, lambda _: None)(writer)


async def _until_gone(reader: asyncio.StreamReader, saying: Awaitable[None]) -> None:
    """Say something for as long as the other side is there."""
    task = asyncio.ensure_future(saying)
    gone = asyncio.ensure_future(reader.read())
    await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
    for each in (task, gone):
        each.cancel()
    await asyncio.gather(task, gone, return_exceptions=True)
