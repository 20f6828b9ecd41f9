"""An outside app that answers every request after `?ms=` milliseconds, and counts them.

`python -m bench.answering <port>`; GET /counted says how many it answered, and how many were open
at once at most. Just enough HTTP for our own client, so that it costs less than what it measures.
"""

from __future__ import annotations

import asyncio
import re
import sys

_DELAY = re.compile(rb"[?&]ms=(\d+)")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


class _App:
    """What all connections share."""

    def __init__(self) -> None:
        self.open = self.peak = self.answered = 0


class _Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other, without a body."""

    def __init__(self, app: _App) -> None:
        self._app = app
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            self._take(head)

    def _take(self, head: bytes) -> None:
        app, delay = self._app, _DELAY.search(head.split(b"\r\n", 1)[0])
        if delay is None:
            self._write(b'{"peak":%d,"answered":%d}' % (app.peak, app.answered))
            return
        app.open += 1
        app.peak = max(app.peak, app.open)
        asyncio.get_running_loop().call_later(int(delay[1]) / 1000, self._answer)

    def _answer(self) -> None:
        self._app.open -= 1
        self._app.answered += 1
        if not self._transport.is_closing():
            self._write(b"{}")

    def _write(self, body: bytes) -> None:
        self._transport.write(_ANSWER % (len(body), body))


async def _serve(port: int) -> None:
    app = _App()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(app), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
