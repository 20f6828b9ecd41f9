"""Assembles the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from runtime.api import errors
from runtime.api.edge import Edge
from runtime.api.registry import ROUTERS
from runtime.api.services import open_services
from runtime.settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings) -> FastAPI:
    """Return the API, which opens its services when it is started."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="Vesicle",
        description="Runs a product's integrations for each of its tenants.",
        version="0.1.0",
        lifespan=lifespan,
    )
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    app.add_middleware(Edge, largest_body=settings.max_body)
    return app
