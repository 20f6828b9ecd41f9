"""Passes requests through to the connected app: `ANY /connections/{c}/proxy/{path}`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from urllib.parse import unquote

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from runtime.actions.connected import Connected
from runtime.api.caller import AnyCaller, Caller
from runtime.api.connection_runs import renew
from runtime.api.services import Services, services_of
from runtime.connectors.stream import Opened, StreamedBody
from runtime.errors import ConnectionFailedError, NotFoundError
from runtime.proxy.headers import accepted_codings, request_headers
from runtime.proxy.passing import Asker
from runtime.proxy.request import Asked

__all__ = ["router"]

router = APIRouter(tags=["connections"])

ServicesHere = Annotated[Services, Depends(services_of)]

log = structlog.get_logger()

#: Bodies up to this many bytes are read first, so that they can be sent again with a new token.
_SHORT = 65_536


@router.get("/connections/{connection}/proxy/{path:path}")
@router.post("/connections/{connection}/proxy/{path:path}")
@router.put("/connections/{connection}/proxy/{path:path}")
@router.patch("/connections/{connection}/proxy/{path:path}")
@router.delete("/connections/{connection}/proxy/{path:path}")
@router.head("/connections/{connection}/proxy/{path:path}")
async def proxy(
    connection: str, path: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Send the request to the connected app with the connection's credentials, and its answer back.

    What the app answers, errors too, has the header `X-Vesicle-Upstream: true`; an answer without
    it is Vesicle's own.
    """
    request.state.allow_body(services.settings.proxy_body)
    wire = _path_on_the_wire(request, connection, path)
    return _Passing(request, caller, services, connection, wire)


class _Passing(Response):
    """An answer that is made while it is sent."""

    def __init__(
        self, request: Request, caller: Caller, services: Services, selector: str, path: bytes
    ) -> None:
        """Take what there is to ask; nothing is asked yet."""
        super().__init__()
        self._request = request
        self._services = services
        self._selector = selector
        self._path = path
        self._caller = caller
        self._body_is_read = asyncio.Event()
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - it is the request's
        """Pass the request through; end the outside call as soon as the caller leaves."""
        passing = asyncio.ensure_future(self._pass(receive, send))
        leaving = asyncio.ensure_future(self._until_left(receive))
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                raise ClientDisconnect
            await passing
        except ConnectionFailedError as error:
            if not self._has_begun:
                raise
            # Left without an end, the connection is cut: half an answer is not taken for one.
            log.info("proxy.cut_off", reason=error.data.get("reason"))
        finally:
            leaving.cancel()
            if not passing.done():
                passing.cancel()
            await asyncio.wait({passing, leaving})

    async def _pass(self, receive: Receive, send: Send) -> None:
        request = self._request
        short, body = await self._body(receive)
        asked = Asked(
            request.method,
            self._path,
            request.scope["query_string"],
            request_headers(request.scope["headers"]),
            short,
        )
        async with self._services.proxy.passing(
            Asker(self._caller.scope, self._caller.actor, partial(_renew, self._services)),
            self._selector,
            asked,
            body=body,
            accept_encoding=accepted_codings(request.headers.get("accept-encoding")),
        ) as answer:
            await self._answer(answer, send)

    async def _answer(self, answer: Opened, send: Send) -> None:
        headers = [(name.encode(), text.encode("latin-1")) for name, text in answer.headers.items()]
        self._has_begun = True
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async for chunk in answer.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _body(self, receive: Receive) -> tuple[bytes | None, StreamedBody | None]:
        """Return the request's body: whole if it is short, as a stream if it is not, or neither."""
        headers = self._request.headers
        announced = headers.get("content-length", "")
        length = int(announced) if announced.isdigit() else None
        chunks = self._chunks(receive)
        if not length and "transfer-encoding" not in headers:
            self._body_is_read.set()
            return None, None
        if length is not None and length <= _SHORT:
            return b"".join([chunk async for chunk in chunks]), None
        return None, StreamedBody(chunks, length)

    async def _chunks(self, receive: Receive) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            more = message.get("more_body", False)
            if not more:
                self._body_is_read.set()
            yield message.get("body", b"")

    async def _until_left(self, receive: Receive) -> None:
        # While the body is read, whoever reads it learns that the caller has left.
        await self._body_is_read.wait()
        while (await receive())["type"] != "http.disconnect":
            pass


async def _renew(services: Services, connected: Connected) -> None:
    await renew(services, connected.owner, connected.id, connected.integration_id)


def _path_on_the_wire(request: Request, connection: str, path: str) -> bytes:
    """Return the path after /proxy/ exactly as it was sent: what is encoded in it stays so."""
    scope = request.scope
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.partition(b"?")[0].removeprefix(scope.get("root_path", "").encode())
    # An encoded / in the connection's name would make this reading of the path another than the
    # one by which the route was found.
    _, first, name, word, rest = [*raw.split(b"/", 4), b"", b"", b"", b""][:5]
    read = [first, unquote(name.decode("latin-1")), word, unquote(rest.decode("latin-1"))]
    if read != [b"connections", connection, b"proxy", path]:
        raise NotFoundError(f"There is no connection {connection[:100]!r}.")
    return rest
