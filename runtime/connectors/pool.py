"""Keeps connections to outside apps open between calls, so that most calls need no handshake.

Connections are shared by all callers that use the same origin and partition. Sharing an origin
between tenants is sound because an HTTP/1.1 connection carries nobody's identity: credentials
travel in each request, there is no cookie jar and no client certificate, and a connection on which
an exchange was cut off, failed, or was followed by one unexpected byte is closed (`wire`). A caller
that wants separate sockets all the same names a partition.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from runtime.connectors.dialing import Dialer
from runtime.connectors.egress import UNREACHABLE
from runtime.connectors.location import Location
from runtime.connectors.wire import HttpConnection
from runtime.errors import ConnectionFailedError

__all__ = ["ConnectionPool"]

#: Seconds for name lookup, TCP and TLS together.
CONNECT_TIMEOUT = 5.0
#: Seconds that an idle connection is kept: below the 5 that common servers (Node, uvicorn) wait
#: before they hang up, so that a request rarely meets a connection that is just being closed.
KEEP_ALIVE = 4.0
#: Seconds that `close` waits for transports to end.
_CLOSE_PATIENCE = 2.0

_Key = tuple[str, tuple[str, str, int]]


class ConnectionPool:
    """Hands out connections, at most `max_connections` at once; others wait their turn."""

    def __init__(self, dialer: Dialer, tls: ssl.SSLContext, *, max_connections: int) -> None:
        self._dialer = dialer
        self._tls = tls
        self._max_idle = max_connections
        self._turns = asyncio.Semaphore(max_connections)
        self._idle: dict[_Key, deque[HttpConnection]] = {}
        self._idle_count = 0
        self._open: set[HttpConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def acquire(
        self, location: Location, partition: str, *, fresh: bool = False
    ) -> HttpConnection:
        """Return a connection to that place; `fresh` asks for one that was never used.

        Every one of them must come back through `release`. Raises EgressDeniedError and
        ConnectionFailedError.
        """
        await self._turns.acquire()
        try:
            self._refuse_if_closed()
            idle = None if fresh else self._take(location, partition)
            return idle or await self._connect(location)
        except BaseException:
            self._turns.release()
            raise

    def release(self, connection: HttpConnection, location: Location, partition: str) -> None:
        """Take a connection back: keep it if it can be used again, else close it."""
        self._turns.release()
        if not connection.is_reusable or self._idle_count >= self._max_idle:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault((partition, location.origin), deque()).append(connection)
        self._idle_count += 1
        if self._sweeper is None:
            self._sweeper = loop.call_later(KEEP_ALIVE, self._sweep)

    async def close(self) -> None:
        """Close every connection, the used ones too."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        ending = [connection.closed for connection in self._open]
        for connection in self._open:
            connection.abort()
        if ending:
            await asyncio.wait(ending, timeout=_CLOSE_PATIENCE)
        self._dialer.close()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise ConnectionFailedError(
                "This process is stopping and calls nobody any more.", data={"reason": "closed"}
            )

    def _take(self, location: Location, partition: str) -> HttpConnection | None:
        """Return the idle connection that was used last: it is the likeliest to be alive."""
        idle = self._idle.get((partition, location.origin))
        oldest = asyncio.get_running_loop().time() - KEEP_ALIVE
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.is_reusable and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, location: Location) -> HttpConnection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await self._handshake(location)
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise ConnectionFailedError(
                "The outside app's certificate or TLS is not acceptable.",
                data={"reason": "tls", "detail": _tls_reason(error)},
            ) from None
        except OSError:  # TimeoutError is one
            raise ConnectionFailedError(UNREACHABLE, data={"reason": "unreachable"}) from None
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _handshake(self, location: Location) -> HttpConnection:
        socket = await self._dialer.open(location)
        secure = location.scheme == "https"
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                HttpConnection,
                sock=socket,
                ssl=self._tls if secure else None,
                server_hostname=location.host if secure else None,
            )
        except BaseException:
            socket.close()
            raise
        return connection

    def _sweep(self) -> None:
        """Close what has been idle for too long; runs only while something is idle."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_ALIVE
        for key, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= oldest or not idle[0].is_reusable):
                idle.popleft().abort()
                self._idle_count -= 1
            if not idle:
                del self._idle[key]
        if self._idle:
            self._sweeper = loop.call_later(KEEP_ALIVE / 2, self._sweep)


def _tls_reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's word for it, such as CERTIFICATE_VERIFY_FAILED."""
    return getattr(error, "verify_message", "") or error.reason or "TLS failed"
