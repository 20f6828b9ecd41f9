"""The HTTP server of an API process: uvicorn's, with bounds that it has not.

It knows of streams that go on, and reads no head of a request without an end.
"""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.api.edge import LARGEST_HEAD

__all__ = ["Http", "Server"]

#: Bytes after which the head of a request is given up unread: more than any that is answered.
_UNREAD = 4 * LARGEST_HEAD


class Http(HttpToolsProtocol):
    """A connection that ends a caller whose request line and headers do not end.

    The parser keeps what it has read of a header until that is whole, however much it is.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        """Read nothing yet."""
        super().__init__(*given, **named)
        self._head: int | None = 0

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request."""
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > _UNREAD and not self.transport.is_closing():
            self.send_400_response("The request's headers do not end.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count no longer: a body has a bound of its own."""
        self._head = None
        super().on_headers_complete()


class Server(uvicorn.Server):
    """A server that has its app's streams end before it waits for requests to be over.

    Without that it would wait for them until its patience ends: they end with the app, and the app
    is told last. Who waits for a run is told that it goes on.
    """

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """End the streams and the waits, then the rest."""
        app = self.config.app
        services = getattr(app.state, "services", None) if isinstance(app, FastAPI) else None
        if services is not None:
            services.hub.end()
            services.waiters.end()
        await super().shutdown(sockets)
