"""Every router of the API, in one list."""

from __future__ import annotations

from fastapi import APIRouter

from runtime.api.routes import (
    access_tokens,
    actions,
    activity,
    bulk,
    caps,
    connection_care,
    connection_data,
    connections,
    data_links,
    data_source_records,
    dead_letters,
    element_relations,
    elements,
    exports,
    flow_graphs,
    flow_runs,
    flow_runs_again,
    health,
    instances,
    layers,
    limits,
    proxy,
    runs,
    tenants,
    usage,
    versions,
    workspace,
)

__all__ = ["ROUTERS"]

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    actions.router,
    runs.router,
    connection_care.router,
    connections.router,
    proxy.router,
    connection_data.router,
    data_links.router,
    data_source_records.router,
    element_relations.router,
    elements.router,
    instances.router,
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
    dead_letters.router,
    usage.router,
    activity.router,
    workspace.router,
    access_tokens.router,
)
