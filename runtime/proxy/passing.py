"""Passes one request through to an app: the whole story, in one straight line.

    the connection → a place among the tenant's → reserve → the app → its answer, as it comes
                                                                   └→ settled and on record

No run is made and no queue is asked; neither body is held. The record is written after the answer's
last byte, so it costs the caller nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import structlog

from runtime.actions.connected import Connected
from runtime.clock import monotonic, now
from runtime.connectors.client import OutboundClient, OutboundRequest
from runtime.connectors.messages import brief
from runtime.connectors.stream import Opened, StreamedBody
from runtime.errors import InternalError, RateLimitExceededError, VesicleError
from runtime.proxy.connections import Connections, Open, Renew
from runtime.proxy.headers import answer_headers
from runtime.proxy.records import Passage, Records
from runtime.proxy.request import Asked, outbound
from runtime.tenancy import Owner, Scope

__all__ = ["Asker", "Proxy"]

log = structlog.get_logger()

#: Why a call was not made; None is the egress policy's.
_NOT_SENT = frozenset({None, "unreachable", "tls"})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and how a token of the connection is renewed for it."""

    scope: Scope
    #: As the audit trail names callers.
    actor: str
    renew: Renew


@dataclass(slots=True)
class Proxy:
    """Passes requests through for one process."""

    connections: Connections
    records: Records
    client: OutboundClient
    #: Requests of one tenant that may be under way here at once.
    most_at_once: int
    _under_way: Counter[Owner] = field(default_factory=Counter)
    _writing: set[asyncio.Task[None]] = field(default_factory=set)

    async def close(self) -> None:
        """Write what is still to be put on record, and close all connections."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=5)
        await self.client.close()

    @asynccontextmanager
    async def passing(
        self,
        asker: Asker,
        selector: str,
        asked: Asked,
        *,
        body: StreamedBody | None = None,
        accept_encoding: str = "identity",
    ) -> AsyncIterator[Opened]:
        """Yield the app's answer, whatever its status, with the headers that the caller may have.

        Raises what is wrong with the connection or the path, the limit that is reached, and
        ConnectionFailedError with `data.reason` where there is no answer or no more of it.
        """
        opened = await self.connections.get(asker.scope, selector)
        passage = Passage(opened, asker.actor, asked.method, now())
        with self._place(passage.owner):
            began = monotonic()
            if body is not None:
                body = replace(body, chunks=_counted(body.chunks, passage))
            passage.bytes_sent = len(asked.body or b"")
            try:
                async with self._called(asker, opened, asked, body, accept_encoding, passage) as (
                    answer
                ):
                    yield answer
                    passage.bytes_received = answer.body.received
            except VesicleError as error:
                passage.error = error.body()
                # Nothing has left: what was reserved is given back.
                if passage.status is None and error.data.get("reason") in _NOT_SENT:
                    passage.is_called = False
                raise
            except BaseException:
                passage.error = InternalError("The caller left before the answer's end.").body()
                raise
            finally:
                passage.seconds = monotonic() - began
                self._put_on_record(passage)

    @asynccontextmanager
    async def _called(
        self,
        asker: Asker,
        opened: Open,
        asked: Asked,
        body: StreamedBody | None,
        accept_encoding: str,
        passage: Passage,
    ) -> AsyncIterator[Opened]:
        connected = opened.connected
        request = outbound(connected, asked) if not self.connections.is_due(connected) else None
        if request is not None:
            passage.url = brief(request)["url"]
        await self.records.reserve(passage)
        if request is None:
            connected = await self.connections.renewed(connected, asker.renew)
            request = outbound(connected, asked)
            passage.url = brief(request)["url"]
        for attempt in (1, 2):
            passage.is_called = True
            async with self._sent(request, body, accept_encoding) as answer:
                expired = answer.status == HTTPStatus.UNAUTHORIZED
                if attempt == 1 and expired and body is None:
                    renewed = await self._again(asker, connected, asked)
                    if renewed is not None:
                        request = renewed
                        continue
                passage.status = answer.status
                headers = answer_headers(answer.headers, request.secrets)
                yield replace(answer, headers=headers)
                return

    @asynccontextmanager
    async def _sent(
        self, request: OutboundRequest, body: StreamedBody | None, accept_encoding: str
    ) -> AsyncIterator[Opened]:
        # What changes nothing is followed to where the app says that it is; the client lets no
        # credential go along to another origin. Other redirects are the caller's to judge.
        follow = body is None and request.method in ("GET", "HEAD")
        async with self.client.stream(
            request, body=body, accept_encoding=accept_encoding, follow_redirects=follow
        ) as answer:
            yield answer

    async def _again(
        self, asker: Asker, connected: Connected, asked: Asked
    ) -> OutboundRequest | None:
        """Return the request with a new token; None if the app's 401 has to stand."""
        try:
            current = await self.connections.after_refusal(connected, asker.renew)
            return outbound(current, asked) if current is not None else None
        except VesicleError as error:
            log.info("proxy.not_renewed", connection_id=str(connected.id), key=error.key)
            return None

    @contextmanager
    def _place(self, owner: Owner) -> Iterator[None]:
        if self._under_way[owner] >= self.most_at_once:
            raise RateLimitExceededError(
                f"{self.most_at_once} requests of this tenant are passing through at this moment;"
                " wait for one to end.",
                data={"resource": "proxy-requests-at-once", "retryAfter": 1},
            )
        self._under_way[owner] += 1
        try:
            yield
        finally:
            self._under_way[owner] -= 1
            if not self._under_way[owner]:
                del self._under_way[owner]

    def _put_on_record(self, passage: Passage) -> None:
        task = asyncio.create_task(self._record(passage))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _record(self, passage: Passage) -> None:
        try:
            await self.records.record(passage)
        except Exception as error:  # nobody waits for it any more
            log.exception("proxy.not_recorded", passage=str(passage.id), error=type(error).__name__)


async def _counted(chunks: AsyncIterator[bytes], passage: Passage) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        passage.bytes_sent += len(chunk)
        yield chunk
