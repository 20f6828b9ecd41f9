"""The HTTP server of an API process: uvicorn's, which also knows of streams that go on."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI

__all__ = ["Server"]


class Server(uvicorn.Server):
    """A server that has its app's streams end before it waits for requests to be over.

    Without that it would wait for them until its patience ends: they end with the app, and the app
    is told last.
    """

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """End the streams, then the rest."""
        app = self.config.app
        services = getattr(app.state, "services", None) if isinstance(app, FastAPI) else None
        if services is not None:
            services.hub.end()
        await super().shutdown(sockets)
