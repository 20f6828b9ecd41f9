"""Every router of the API, in one list."""

from __future__ import annotations

from fastapi import APIRouter

from runtime.api.routes import (
    actions,
    activity,
    alerts,
    bulk,
    caps,
    connection_data,
    connections,
    data_links,
    dead_letters,
    elements,
    exports,
    flow_graphs,
    flow_runs,
    flow_runs_again,
    flow_triggers,
    health,
    layers,
    limits,
    live,
    proxy,
    runs,
    schedules,
    tenants,
    usage,
    versions,
    webhooks,
    workspace,
)

__all__ = ["ROUTERS"]

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    live.router,
    actions.router,
    runs.router,
    connections.router,
    proxy.router,
    connection_data.router,
    data_links.router,
    elements.router,
    versions.router,
    layers.router,
    exports.router,
    tenants.router,
    limits.router,
    caps.router,
    bulk.router,
    flow_graphs.router,
    flow_runs_again.router,
    flow_runs.router,
    flow_triggers.router,
    schedules.router,
    dead_letters.router,
    usage.router,
    activity.router,
    alerts.router,
    webhooks.router,
    workspace.router,
)
