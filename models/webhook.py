"""Outgoing webhooks: where a workspace wants to be told, under which secret, and of what."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from models.base import JSONB, document, moment, primary_key, tenant_reference, written_at

__all__ = ["WebhookDelivery", "WebhookEndpoint", "WebhookSecret"]


def _endpoint_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["workspace_id", "endpoint_id"],
        ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
        ondelete="CASCADE",
    )


class WebhookEndpoint(SQLModel, table=True):
    """An address of the product's that is told of events in its workspace."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        Index("uq_webhook_endpoints_main", "workspace_id", unique=True, postgresql_where="is_main"),
        CheckConstraint("disabled_reason IN ('gone', 'failing')", name="disabled_reason"),
        {"info": {"rls": "workspace_notice"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    url: str
    #: Names of events, `actionRun.*` for all of a kind, `*` for all.
    events: list[str] = Field(
        sa_type=ARRAY(Text), nullable=False, sa_column_kwargs={"server_default": text("'{}'")}
    )
    description: str | None = None
    #: The one that the workspace's own `webhookUri` stands for.
    is_main: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    is_enabled: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: Why Vesicle switched it off: it answered 410, or failed for too long.
    disabled_reason: str | None = None
    #: Failed attempts since the last success, and when the first of them was.
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    failing_since: datetime | None = moment()
    #: Until then it is left alone.
    quiet_until: datetime | None = moment()
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
    #: The row goes later: who is just ending a run may be writing a delivery for it.
    deleted_at: datetime | None = moment()


class WebhookSecret(SQLModel, table=True):
    """An endpoint's secret, sealed. During a rotation two are valid, and both sign."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (
        _endpoint_reference(),
        Index(None, "endpoint_id"),
        {"info": {"rls": "workspace"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    endpoint_id: UUID
    data_key_id: UUID = Field(foreign_key="data_keys.id")
    sealed: bytes
    created_at: datetime = written_at()
    #: When the overlap of a rotation ends; null for the current secret.
    expires_at: datetime | None = moment()


class WebhookDelivery(SQLModel, table=True):
    """One event for one endpoint, written in the transaction of what it tells of.

    Its id is the `webhook-id` of each attempt. Whoever attempts it holds `claim` until `due_at`:
    one whose process died is due again by itself.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        tenant_reference(),
        _endpoint_reference(),
        # First the one that rests: seeds of tests take it, and nobody delivers those.
        CheckConstraint("status IN ('delivered', 'failed', 'pending')", name="status"),
        Index(
            "ix_webhook_deliveries_pending",
            "endpoint_id",
            "due_at",
            postgresql_where="status = 'pending'",
        ),
        Index("ix_webhook_deliveries_claimed", "endpoint_id", postgresql_where="claim IS NOT NULL"),
        Index(None, "workspace_id", "id"),
        Index(None, "endpoint_id", "id"),
        Index(None, "created_at"),
        {"info": {"rls": "outbox"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    #: The tenant that it is about; null for the workspace itself.
    tenant_id: UUID | None = None
    endpoint_id: UUID
    event: str
    #: What the payload has as `data`.
    data: dict[str, Any] = document()
    status: str = Field(default="pending", sa_column_kwargs={"server_default": "pending"})
    due_at: datetime = written_at()
    #: Attempts since it was written or replayed; the delays between them follow from it.
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    claim: UUID | None = None
    #: The latest attempts: `{at, statusCode, duration, error, answer}`.
    attempts: list[dict[str, Any]] = Field(
        default_factory=list,
        sa_type=JSONB,
        nullable=False,
        sa_column_kwargs={"server_default": text("'[]'")},
    )
    created_at: datetime = written_at()
    delivered_at: datetime | None = moment()
