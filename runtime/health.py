"""Answers whether a process lives, is ready, and how it does, on a port of its own.

Just enough HTTP for probes: GET /health/live, /health/ready and /metrics, one answer a connection.
The port is for operators and has no part in the API. Who only watches whether the process lives
need not prove anything; metrics are shown on loopback, or beyond it to those who have the token.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr

from runtime.errors import BadRequestError

__all__ = ["Page", "Reachability", "serve_health"]

log = structlog.get_logger(__name__)

#: A further page: makes Prometheus' text of the query's parameters; BadRequestError becomes a 400.
Page = Callable[[Mapping[str, str]], Awaitable[bytes]]

#: Seconds that a probe has to say what it wants, and bytes in which it has to say it.
_PATIENCE, _LONGEST = 5.0, 8192
#: A machine's processes share one setting: each takes the first free port from there on.
_PORTS = 32
_TEXT = "text/plain; charset=utf-8"


class Reachability:
    """Knows whether all that a process stands on has answered lately."""

    #: Seconds between two looks, for which one look may take, and for which an answer is good.
    PACE, PATIENCE, RECENT = 3.0, 3.0, 10.0

    def __init__(self, **asked: Callable[[], Awaitable[object]]) -> None:
        """Take what to ask by name; an answer that is false is none, and neither is an error."""
        self._asked = asked
        self._answered: dict[str, float] = {}

    def __call__(self) -> bool:
        """Return whether each has answered within the last ten seconds."""
        return not self.silent()

    def silent(self) -> list[str]:
        """Return the names of those that have not."""
        oldest = asyncio.get_running_loop().time() - self.RECENT
        return [name for name in self._asked if self._answered.get(name, oldest) <= oldest]

    async def watch(self) -> None:
        """Ask all, again and again, until cancelled; log who falls silent and who comes back."""
        known: list[str] = []
        while True:
            await asyncio.gather(*map(self._ask, self._asked))
            if (silent := self.silent()) != known:
                log.warning("health.silent" if silent else "health.all_answer", silent=silent)
                known = silent
            await asyncio.sleep(self.PACE)

    async def _ask(self, name: str) -> None:
        try:
            async with asyncio.timeout(self.PATIENCE):
                answer = await self._asked[name]()
        except Exception:  # noqa: BLE001 - whatever went wrong, it is not an answer
            return
        if answer:
            self._answered[name] = asyncio.get_running_loop().time()


@dataclass(slots=True)
class _Server:
    """What one process answers."""

    ready: Callable[[], bool]
    pages: Mapping[str, Page]
    token: SecretStr | None
    #: Whether the port can be reached from this machine only.
    local: bool

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            async with asyncio.timeout(_PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
            writer.write(await self._reply(request))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a probe that does not ask properly gets no answer
        finally:
            writer.close()

    async def _reply(self, request: bytes) -> bytes:
        first, *headers = request.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path, _, query = rest.split(" ", 1)[0].partition("?")
        if method != "GET":
            return _response("405 Method Not Allowed", b"only GET\n")
        if path in ("/health/live", "/health/ready"):
            well = path == "/health/live" or self.ready()
            name = path.removeprefix("/health/").encode()
            if well:
                return _response("200 OK", name + b"\n")
            return _response("503 Service Unavailable", b"not " + name + b"\n")
        if path != "/metrics" and path not in self.pages:
            return _response("404 Not Found", b"nothing here\n")
        if not self._may_read(headers):
            return _response("403 Forbidden", b"give VESICLE_METRICS_TOKEN as a bearer token\n")
        return await self._measured(path, query)

    async def _measured(self, path: str, query: str) -> bytes:
        if path == "/metrics":
            return _response("200 OK", generate_latest(), CONTENT_TYPE_LATEST)
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        try:
            return _response("200 OK", await self.pages[path](asked), CONTENT_TYPE_LATEST)
        except BadRequestError as error:
            return _response("400 Bad Request", f"{error.message}\n".encode())
        except Exception as error:
            log.exception("health.page_failed", path=path, error=type(error).__name__)
            return _response("503 Service Unavailable", b"cannot say\n")

    def _may_read(self, headers: list[str]) -> bool:
        """Return whether metrics may be shown; beyond this machine never without a token."""
        if self.token is None:
            return self.local
        expected = f"Bearer {self.token.get_secret_value()}".encode()
        given = dict(line.partition(":")[::2] for line in headers)
        sent = next((text for name, text in given.items() if name.lower() == "authorization"), "")
        return hmac.compare_digest(sent.strip().encode(), expected)


@asynccontextmanager
async def serve_health(
    port: int,
    ready: Callable[[], bool],
    *,
    host: str = "127.0.0.1",
    token: SecretStr | None = None,
    pages: Mapping[str, Page] | None = None,
) -> AsyncIterator[int]:
    """Serve from `port` on, 0 for any free one; yields the port it got.

    `ready` says whether the process can be given work; live it is as long as its loop turns.
    `pages` are further ones by path. On a `host` that is not loopback, /metrics and the pages need
    the token; where one is set, everybody does. Raises OSError if no port is free.
    """
    answers = _Server(ready, pages or {}, token, _is_loopback(host))
    server = await _listen(answers, host, port)
    async with server:
        taken: int = server.sockets[0].getsockname()[1]
        log.info("health.serving", host=host, port=taken)
        yield taken


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _listen(answers: _Server, host: str, port: int) -> asyncio.Server:
    candidates = range(port, port + _PORTS) if port else range(1)
    for candidate in candidates:
        try:
            return await asyncio.start_server(answers.answer, host, candidate, limit=_LONGEST)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == candidates[-1]:
                raise
    raise AssertionError("unreachable: the last candidate returns or raises")


def _response(status: str, body: bytes, content_type: str = _TEXT) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
