"""Pulls: each look at an app for what changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["ExternalPull"]


class ExternalPull(SQLModel, table=True):
    """One look, by a run of its own; how far it has come survives the run's worker."""

    __tablename__ = "external_pulls"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["external_subscriptions.tenant_id", "external_subscriptions.id"],
        ),
        CheckConstraint("status IN ('queued', 'running', 'success', 'error')", name="status"),
        # One at a time for each connection, whoever asks for it.
        Index(
            "uq_external_pulls_open",
            "connection_id",
            unique=True,
            postgresql_where="status IN ('queued', 'running')",
        ),
        Index(None, "workspace_id", "id"),
        Index("ix_external_pulls_subscription", "subscription_id", "id"),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    integration_id: UUID
    connection_id: UUID
    subscription_id: UUID
    run_id: UUID
    is_full_scan: bool
    status: str = Field(default="queued", sa_column_kwargs={"server_default": "queued"})
    error: dict[str, Any] | None = document(nullable=True)
    #: Number of the look at everything; of any other, that of the one before it.
    scan: int | None = Field(default=None, sa_type=BigInteger)
    #: How far it has come: `{cursor, pages, since, until, after, phase}`.
    progress: dict[str, Any] = document()
    records: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    events: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = written_at()
    started_at: datetime | None = moment()
    ended_at: datetime | None = moment()
