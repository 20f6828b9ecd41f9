"""What may start flows: each trigger of each flow, for each tenant and connection it works for."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import moment, ordered_document, primary_key, tenant_reference, written_at

__all__ = ["FlowTrigger", "TriggerChange"]


class FlowTrigger(SQLModel, table=True):
    """A trigger as it is in force for a tenant, over one connection or none.

    Made from elements, connections and tenants whenever one of them changes; nothing else writes
    here. One that is no longer live stays, so that what hangs on its id outlives a pause.
    """

    __tablename__ = "flow_triggers"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"]
        ),
        Index(
            "uq_flow_triggers_place",
            *("tenant_id", "flow_id", "node_key", "connection_id", "instance_key"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index(None, "workspace_id", "id"),
        Index("ix_flow_triggers_live", "tenant_id", "type", postgresql_where="is_live"),
        {"info": {"rls": "tenant"}},
    )

    #: UUIDv5 of tenant, flow, connection and node: the same whenever the trigger comes back.
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    tenant_id: UUID
    #: The element that holds the flow's whole definition.
    flow_id: UUID
    flow_key: str
    node_key: str
    #: `schedule-trigger`, `app-event-trigger` and so on; never `api-trigger`.
    type: str
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    #: Which of the connection's instances of the flow; null for the first one.
    instance_key: str | None = None
    #: The node's config in the effective flow.
    config: dict[str, Any] = ordered_document()
    #: Of the effective flow: changes whenever one of its layers does.
    revision: str
    is_live: bool
    #: Why it is not live, in words; null while it is.
    reason: str | None = None
    created_at: datetime = written_at()
    updated_at: datetime = written_at()


class TriggerChange(SQLModel, table=True):
    """A note that triggers have to be looked at again, written with what changed them.

    Written by the database itself (`database.sql`), so no way to change an element, a connection
    or a tenant can forget it. Without a tenant it is about all tenants of the workspace, and
    without a workspace about all of them.
    """

    __tablename__ = "trigger_changes"
    __table_args__ = ({"info": {"rls": "operator"}},)

    id: UUID = primary_key()
    workspace_id: UUID | None = None
    tenant_id: UUID | None = None
    #: The only flow that it is about; null for all.
    flow_key: str | None = None
    #: The last tenant of many that has been seen to.
    after: UUID | None = None
    #: Until when somebody is at it.
    taken_until: datetime | None = moment()
    created_at: datetime = written_at()
