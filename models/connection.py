"""Connections: one tenant's authenticated link to one integration."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["Connection"]


class Connection(SQLModel, table=True):
    """A link whose credentials are kept apart, sealed, under the connection's id."""

    __tablename__ = "connections"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["workspace_id", "integration_id"], ["elements.workspace_id", "elements.id"]
        ),
        UniqueConstraint("tenant_id", "id"),
        Index(
            "uq_connections_key",
            "tenant_id",
            "key",
            unique=True,
            postgresql_where="archived_at IS NULL",
        ),
        Index(None, "workspace_id", "id"),
        # Those that need their customer: few, and looked for every minute.
        Index("ix_connections_ill", "id", postgresql_where="state = 'CLIENT_ACTION_REQUIRED'"),
        CheckConstraint(
            "state IN ('READY', 'CLIENT_ACTION_REQUIRED', 'SETUP_FAILED')", name="state"
        ),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    integration_id: UUID
    key: str | None = None
    name: str
    #: What the connector's base URI and headers need to know, such as a subdomain; not secret.
    parameters: dict[str, Any] = document()
    meta: dict[str, Any] = document()
    state: str = "READY"
    error: dict[str, Any] | None = document(nullable=True)
    #: When the access token ends, where there is one.
    expires_at: datetime | None = moment()
    #: Until when somebody is refreshing the credentials.
    refreshing_until: datetime | None = moment()
    tested_at: datetime | None = moment()
    #: Why the connection is switched off: `tenant` when its tenant was archived.
    deactivated_by: str | None = None
    revision: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
    archived_at: datetime | None = moment()
