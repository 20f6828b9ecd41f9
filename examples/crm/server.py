"""The HTTP server under the app, with the one thing that ASGI lacks: cutting a connection.

The route `/faults/reset` needs the transport under its request. The protocol here hands it over
in the request's scope, as the extension `crm.transport`.
"""

from __future__ import annotations

import contextlib
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from examples.crm.app import create_app

__all__ = ["listen", "serve"]

_BACKLOG = 2048  # connections the kernel holds for us; a worker may open a thousand at once


class _TransportInScope(HttpToolsProtocol):
    """The stock protocol; each request's scope also carries its transport."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"crm.transport": {"transport": self.transport}}


class _PromptServer(uvicorn.Server):
    """Stops at once: cuts the connections that `/faults/hang` and its like would hold open."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 picks a free one. Raises OSError if it is taken."""
    return socket.create_server((host, port), backlog=_BACKLOG)


def serve(listener: socket.socket) -> None:
    """Serve on `listener` until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        create_app(),
        http=_TransportInScope,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the usual way to stop it
        _PromptServer(config).run(sockets=[listener])
