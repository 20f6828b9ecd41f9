"""The outside app: a small HTTP server of our own that notes every call and survives every fault.

    GET|PUT|POST /<anything>/<operation>[?seconds=0.5]     credential in X-Api-Key

A call is noted when it has arrived, before anything is answered: from then on its effect exists. Of
each hundred calls some are answered with 500, and some are turned away with 429 and have no effect.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.chaos.listener import Listener

__all__ = ["Hit", "Ledger"]

_BREAKS, _TURNS_AWAY = 0.01, 0.02


@dataclass(frozen=True, slots=True)
class Hit:
    """One call that arrived."""

    at: float
    method: str
    path: str
    #: What the path ends with: the load client's name for what it wanted.
    operation: str
    credential: str
    key: str | None
    body: str
    status: int


class Ledger(Listener):
    """An app that writes down every call; what it has written stays when it is closed."""

    def __init__(self, seed: int) -> None:
        """Decide by this seed which calls fail."""
        super().__init__()
        self.hits: list[Hit] = []
        self._random = random.Random(f"ledger {seed}")

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other."""
        while True:
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        status = self._note(method, parts.path, headers, body)
        if status < 400:
            await asyncio.sleep(float(parse_qs(parts.query).get("seconds", ["0"])[0]))
        answer = b'{"ok": true}' if status < 400 else b'{"error": "as the seed has it"}'
        fields = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n"
        fields += "Retry-After: 1\r\n" if status == 429 else ""
        writer.write(f"{fields}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()

    def _note(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        drawn = self._random.random()
        status = 500 if drawn < _BREAKS else 429 if drawn < _BREAKS + _TURNS_AWAY else 200
        operation = path.rpartition("/")[2]
        if operation == "me":
            status = 200  # the test of a connection
        self.hits.append(
            Hit(
                asyncio.get_running_loop().time(),
                method,
                path,
                operation,
                headers.get("x-api-key", ""),
                headers.get("idempotency-key"),
                hashlib.sha256(body).hexdigest()[:16],
                status,
            )
        )
        return status
