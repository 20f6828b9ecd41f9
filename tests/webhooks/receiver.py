"""A product's end of a webhook: takes what comes, and answers as it is told to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Received", "Receiver", "is_genuine"]


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Return whether a body was signed with this secret: the ten lines of docs/webhooks.md."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(
        hmac.compare_digest(each, f"v1,{expected}")
        for each in headers["webhook-signature"].split(" ")
    )


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Listens on loopback. `answers` are taken from the front; without one it says 204."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    #: Raw heads of answers, such as `410 Gone`, with more header lines if need be.
    answers: list[str] = field(default_factory=list)
    #: While it is set, a path answers; what is not in here answers always.
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    body: bytes = b""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        for gate in self.gates.values():
            gate.set()
        self._server.close()

    def at(self, path: str) -> list[Received]:
        """Return what came to a path."""
        return [each for each in self.received if each.path == path]

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = head[0].split(" ")[1]
                self.received.append(Received(path, headers, body))
                if path in self.gates:
                    await self.gates[path].wait()
                answer = self.answers.pop(0) if self.answers else "204 No Content"
                writer.write(
                    f"HTTP/1.1 {answer}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode()
                    + self.body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
