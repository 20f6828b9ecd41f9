"""Every router of the API, in one list."""

from __future__ import annotations

from fastapi import APIRouter

from runtime.api.routes import (
    actions,
    activity,
    bulk,
    caps,
    connections,
    dead_letters,
    elements,
    health,
    limits,
    runs,
    tenants,
    usage,
    workspace,
)

__all__ = ["ROUTERS"]

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    actions.router,
    runs.router,
    connections.router,
    elements.router,
    tenants.router,
    limits.router,
    caps.router,
    bulk.router,
    dead_letters.router,
    usage.router,
    activity.router,
    workspace.router,
)
