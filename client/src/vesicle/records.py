"""The JSON objects that the API answers with, under their names on the wire.

Each is a plain dict. Every name is optional: which ones an answer has depends on the server's
version and on who asks, and a newer server may add more.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

__all__ = [
    "ActionRecord",
    "ActivityRecord",
    "CapRecord",
    "ConnectionRecord",
    "ConnectorRecord",
    "ElementRecord",
    "EventSubscriptionRecord",
    "FlowRecord",
    "FlowRunRecord",
    "IntegrationRecord",
    "Layer",
    "LimitRecord",
    "ScheduleRecord",
    "TenantRecord",
]

#: Where an element's configuration stands; "effective" is the merge of them all.
Layer = Literal["universe", "workspace", "integration", "tenant", "connection", "effective"]


class ElementRecord(TypedDict, total=False):
    """What every configurable thing has."""

    id: str
    key: str
    name: str
    description: str
    meta: dict[str, Any]
    revision: str | int
    createdAt: str
    updatedAt: str
    archivedAt: str | None


class ActionRecord(ElementRecord, total=False):
    """An action: its `type`, that type's `config`, and the schemas around it."""

    type: str
    config: dict[str, Any]
    inputSchema: dict[str, Any]
    outputSchema: dict[str, Any]
    outputMapping: Any
    integrationId: str
    integrationKey: str
    connectionId: str
    layer: Layer
    isCustomized: bool
    #: With `explain=True`: the layer that each value came from.
    explain: dict[str, Any]


class FlowRecord(ElementRecord, total=False):
    """A flow: its nodes by key, and whether it may start by itself."""

    nodes: dict[str, Any]
    parameters: dict[str, Any]
    enabled: bool
    integrationKey: str
    layer: Layer
    isCustomized: bool
    state: str
    errors: list[Any]


class FlowRunRecord(TypedDict, total=False):
    """One run of a flow."""

    id: str
    state: str
    flowId: str
    flowKey: str
    startNodeKey: str
    launchedBy: dict[str, Any]
    connectionId: str
    tenantId: str
    input: Any
    errors: list[Any]
    nodes: dict[str, Any]
    startTime: str
    endTime: str


class EventSubscriptionRecord(TypedDict, total=False):
    """What is heard of at one connection: `status` is `subscribed` once it is."""

    id: str
    connectionId: str
    config: dict[str, Any]
    status: str
    isRealTime: bool


class ScheduleRecord(TypedDict, total=False):
    """What starts a flow or an action by the clock."""

    id: str
    flowKey: str
    actionKey: str
    cron: str
    intervalMinutes: int
    timezone: str
    nextAt: str
    lastRunId: str
    reason: str


class ConnectionRecord(ElementRecord, total=False):
    """One tenant's authenticated link to one integration."""

    tenantId: str
    integrationId: str
    integrationKey: str
    connectorId: str
    connected: bool
    disconnected: bool
    isDeactivated: bool
    state: str
    errors: list[Any]
    lastActiveAt: str


class IntegrationRecord(ElementRecord, total=False):
    """A connector, switched on in the workspace."""

    connectorId: str
    connectorKey: str
    parameters: dict[str, Any]
    logoUri: str


class ConnectorRecord(ElementRecord, total=False):
    """How to talk to an outside app."""

    externalAppId: str
    baseUri: str
    auth: dict[str, Any]


class TenantRecord(TypedDict, total=False):
    """A tenant; `internalId` is the key that the product knows it by."""

    id: str
    internalId: str
    name: str
    fields: dict[str, Any]
    isActive: bool
    createdAt: str
    archivedAt: str | None


class LimitRecord(TypedDict, total=False):
    """So many units of a resource in a rolling window; a `limit` of None is unlimited."""

    id: str
    resource: str
    scope: str
    tenantKey: str
    window: str
    limit: float | None


class CapRecord(TypedDict, total=False):
    """At most so many runs at once, under way or waiting; an `amount` of None is any number."""

    id: str
    state: Literal["running", "queued"]
    scope: Literal["workspace", "tenant", "connection", "element"]
    tenantId: str
    tenantKey: str
    connectionId: str
    elementId: str
    amount: int | None
    createdAt: str
    updatedAt: str


class ActivityRecord(TypedDict, total=False):
    """What became of one run."""

    id: str
    tag: str
    tenantId: str
    tenantKey: str
    runId: str
    elementKey: str
    connectionId: str
    integrationId: str
    status: str
    input: Any
    output: Any
    error: dict[str, Any]
    #: Resource -> units that the run consumed.
    credits: dict[str, float]
    attempt: int
    startedAt: str
    createdAt: str
    #: Milliseconds.
    duration: float
