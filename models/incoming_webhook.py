"""Incoming webhooks: what outside apps posted, as it came."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["IncomingWebhook"]


class IncomingWebhook(SQLModel, table=True):
    """One post to a subscription's address; what was refused is kept without its content."""

    __tablename__ = "incoming_webhooks"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["external_subscriptions.tenant_id", "external_subscriptions.id"],
        ),
        CheckConstraint("status IN ('created', 'success', 'error')", name="status"),
        Index(None, "workspace_id", "id"),
        Index("ix_incoming_webhooks_subscription", "subscription_id", "id"),
        Index("ix_incoming_webhooks_open", "run_id", postgresql_where="status = 'created'"),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    integration_id: UUID
    connection_id: UUID
    subscription_id: UUID
    run_id: UUID | None = None
    #: Headers without credentials, query and body.
    request: dict[str, Any] | None = document(nullable=True)
    status: str = Field(default="created", sa_column_kwargs={"server_default": "created"})
    error: dict[str, Any] | None = document(nullable=True)
    created_at: datetime = written_at()
    finished_at: datetime | None = moment()
