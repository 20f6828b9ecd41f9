"""A real HTTP server on loopback that answers what a test scripts and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt

__all__ = ["SECRET", "Api", "Asked", "Reply"]

SECRET = "a-workspace-secret-of-the-tests-" * 2


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def token(self) -> str:
        return self.headers["authorization"].removeprefix("Bearer ")

    @property
    def claims(self) -> dict[str, Any]:
        return jwt.decode(self.token, SECRET, algorithms=["HS512"])


@dataclass(frozen=True)
class Reply:
    """One answer. A `body` of bytes is sent as it is; `drop` closes the connection instead."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hold: float = 0.0


@dataclass
class Api:
    """The server: `script` is used up from the left, `asked` grows."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: deque[Reply] = field(default_factory=deque)

    def will(self, *replies: Reply) -> None:
        """Add answers for the next requests."""
        self.script.extend(replies)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        try:
            while head := await self._head(reader):
                asked = await self._read(head, reader)
                self.asked.append(asked)
                unscripted = Reply(500, {"type": "internal", "message": "not scripted"})
                reply = self.script.popleft() if self.script else unscripted
                await asyncio.sleep(reply.hold)
                if reply.drop:
                    break
                writer.write(_encode(reply))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> str:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return ""

    async def _read(self, head: str, reader: asyncio.StreamReader) -> Asked:
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        return Asked(method, target, headers, json.loads(content) if content else None)


def _encode(reply: Reply) -> bytes:
    content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"content-type": "application/json", **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Scripted", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content
