"""The one way out: every call to an outside app goes through `OutboundClient.send`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from runtime import clock, metrics
from runtime.connectors.body import ExchangeError, parse_body
from runtime.connectors.dialing import Dialer
from runtime.connectors.egress import EgressPolicy
from runtime.connectors.location import Location, parse_location
from runtime.connectors.messages import OutboundRequest, OutboundResponse, brief
from runtime.connectors.pool import ConnectionPool
from runtime.connectors.redaction import shown_url
from runtime.connectors.redirects import MAX_REDIRECTS, redirected
from runtime.connectors.request_bytes import written
from runtime.connectors.stream import Opened, StreamedBody
from runtime.connectors.wire import HttpConnection, Reply
from runtime.errors import ConnectionFailedError

__all__ = ["OutboundClient", "OutboundRequest", "OutboundResponse"]

#: Methods whose request may be sent again when a kept connection turns out to be dead.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class OutboundClient:
    """Calls outside apps within the egress policy, a deadline and a size; one for each process.

    It keeps no cookies, reads no proxy or certificate settings from the environment, and follows
    redirects itself. Belongs to one event loop.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        timeout: float,
        max_response: int,
        max_connections: int = 1000,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take the policy and the limits: seconds for a whole call, bytes of an answer's body.

        `tls` replaces the system's trust store, such as for a company's own authority.
        """
        self._timeout = timeout
        self._max_response = max_response
        tls = tls or httpx2.create_ssl_context(trust_env=False)
        tls.set_alpn_protocols(["http/1.1"])
        self._pool = ConnectionPool(Dialer(policy), tls, max_connections=max_connections)
        self._policy = policy

    async def send(
        self,
        request: OutboundRequest,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline covers waiting for a turn too
        max_response: int | None = None,
        follow_redirects: bool = True,
        partition: str = "",
    ) -> OutboundResponse:
        """Send the request and return the whole answer, whatever its status.

        `timeout` and `max_response` replace the client's own limits for this call. Calls of
        different partitions share no connection. Cancelling the call closes its connection.

        Raises EgressDeniedError for a place where no call may go, and ConnectionFailedError with
        `data.reason` for everything else that leaves no answer: `unreachable`, `timeout`, `tls`,
        `closed`, `protocol`, `too_large`, `redirects`.
        """
        started, outcome = clock.monotonic(), "failed"
        redirects = MAX_REDIRECTS if follow_redirects else 0
        try:
            response = await self._send(request, timeout, max_response, partition, redirects)
        except ConnectionFailedError as error:  # EgressDeniedError is one
            outcome = str(error.data.get("reason") or error.key or outcome)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        else:
            outcome = f"{response.status // 100}xx"
            return response
        finally:
            metrics.outside_call(outcome, clock.monotonic() - started)

    @asynccontextmanager
    async def stream(
        self,
        request: OutboundRequest,
        *,
        body: StreamedBody | None = None,
        accept_encoding: str = "identity",
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline covers reading the answer too
        max_response: int | None = None,
        follow_redirects: bool = False,
        partition: str = "",
    ) -> AsyncIterator[Opened]:
        """Send a request and yield the answer while it comes; neither body is held in memory.

        `body` stands for `request.body`, and its own exceptions are raised here. Redirects are
        followed only by what has no such body. The bounds are those of `send`, and so are the
        errors; those of a body that breaks off come out of reading it and leave the block.
        """
        seconds = self._timeout if timeout is None else timeout
        limit = self._max_response if max_response is None else max_response
        started, outcome = clock.monotonic(), "failed"
        try:
            async with asyncio.timeout(seconds):
                hops = MAX_REDIRECTS if follow_redirects and body is None else 0
                async with self._opened(request, body, accept_encoding, limit, hops, partition) as (
                    response
                ):
                    outcome = f"{response.status // 100}xx"
                    yield response
        except TimeoutError:
            outcome = "timeout"
            message = f"The outside app did not answer within {seconds:g} seconds."
            raise _failed(request, outcome, message) from None
        except ExchangeError as error:
            outcome = error.reason
            raise _failed(request, error.reason, error.message) from None
        except ConnectionFailedError as error:  # EgressDeniedError is one
            outcome = str(error.data.get("reason") or error.key or outcome)
            error.data.setdefault("request", brief(request))
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            metrics.outside_call(outcome, clock.monotonic() - started)

    async def close(self) -> None:
        """Close all connections; calls in flight fail."""
        await self._pool.close()

    async def _send(
        self,
        request: OutboundRequest,
        timeout: float | None,  # noqa: ASYNC109 - the deadline covers waiting for a turn too
        max_response: int | None,
        partition: str,
        redirects: int,
    ) -> OutboundResponse:
        seconds = self._timeout if timeout is None else timeout
        limit = self._max_response if max_response is None else max_response
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(request, limit, partition, redirects)
        except TimeoutError:
            raise _failed(
                request, "timeout", f"The outside app did not answer within {seconds:g} seconds."
            ) from None
        except ExchangeError as error:
            raise _failed(request, error.reason, error.message) from None
        except ConnectionFailedError as error:  # EgressDeniedError is one
            error.data.setdefault("request", brief(request))
            raise

    async def _follow(
        self, request: OutboundRequest, limit: int, partition: str, redirects: int
    ) -> OutboundResponse:
        started = clock.monotonic()
        first = request
        for _ in range(redirects + 1):
            location = parse_location(request.url, request.query)
            self._policy.check(location)  # also when a connection to that place is still open
            reply = await self._exchange(request, location, limit, partition)
            onward = redirected(request, location, reply) if redirects else None
            if onward is None:
                return _response(request, location, reply, clock.monotonic() - started)
            request = onward
        raise _failed(first, "redirects", f"The outside app redirects more than {redirects} times.")

    @asynccontextmanager
    async def _opened(
        self,
        request: OutboundRequest,
        body: StreamedBody | None,
        accept_encoding: str,
        limit: int,
        redirects: int,
        partition: str,
    ) -> AsyncIterator[Opened]:
        first = request
        for _ in range(redirects + 1):
            location = parse_location(request.url, request.query)
            self._policy.check(location)
            message = written(request, location, accept_encoding, body)
            connection, opened = await self._open(
                request, location, message, body, limit, partition
            )
            try:
                reply = Reply(opened.status, opened.headers, b"")
                onward = redirected(request, location, reply) if redirects else None
                if onward is None:
                    yield opened
                    return
            finally:
                connection.leave()
                self._pool.release(connection, location, partition)
            request = onward
        raise _failed(first, "redirects", f"The outside app redirects more than {redirects} times.")

    async def _open(
        self,
        request: OutboundRequest,
        location: Location,
        message: bytes,
        body: StreamedBody | None,
        limit: int,
        partition: str,
    ) -> tuple[HttpConnection, Opened]:
        fresh = False
        while True:
            connection = await self._pool.acquire(location, partition, fresh=fresh)
            kept = connection.served > 0
            try:
                chunks = body.framed() if body is not None else None
                bodiless = request.method == "HEAD"
                opened = await connection.open(message, chunks, bodiless=bodiless, limit=limit)
            except BaseException as error:
                self._pool.release(connection, location, partition)
                if body is not None or not _may_ask_again(request, connection, error, kept=kept):
                    raise
                fresh = True
            else:
                return connection, opened

    async def _exchange(
        self, request: OutboundRequest, location: Location, limit: int, partition: str
    ) -> Reply:
        message = written(request, location)
        fresh = False
        while True:
            connection = await self._pool.acquire(location, partition, fresh=fresh)
            kept = connection.served > 0
            try:
                return await connection.exchange(
                    message, bodiless=request.method == "HEAD", limit=limit
                )
            except ExchangeError as error:
                if not _may_ask_again(request, connection, error, kept=kept):
                    raise
                fresh = True
            finally:
                self._pool.release(connection, location, partition)


def _may_ask_again(
    request: OutboundRequest, connection: HttpConnection, error: BaseException, *, kept: bool
) -> bool:
    """Tell whether a request that met a dead connection may be sent on a new one.

    The app may hang up on an idle connection at the moment of our request: RFC 9112 §9.3.1 lets us
    ask again, once, where asking twice is harmless.
    """
    died = isinstance(error, ExchangeError) and error.reason == "closed"
    return died and kept and connection.was_silent and request.method in _IDEMPOTENT


def _response(
    request: OutboundRequest, location: Location, reply: Reply, elapsed: float
) -> OutboundResponse:
    headers = {name: value for name, value in reply.headers.items() if name != "set-cookie"}
    return OutboundResponse(
        status=reply.status,
        headers=headers,
        data=parse_body(reply.headers.get("content-type", ""), reply.body),
        url=shown_url(location.url, None, request.secrets),
        elapsed=elapsed,
        size=len(reply.body),
    )


def _failed(request: OutboundRequest, reason: str, message: str) -> ConnectionFailedError:
    return ConnectionFailedError(message, data={"reason": reason, "request": brief(request)})
