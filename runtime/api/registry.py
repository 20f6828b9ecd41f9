"""Every router of the API, in one list."""

from __future__ import annotations

from fastapi import APIRouter

from runtime.api.routes import actions, connections, elements, health, runs

__all__ = ["ROUTERS"]

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    actions.router,
    runs.router,
    connections.router,
    elements.router,
)
