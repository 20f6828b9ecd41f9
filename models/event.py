"""Events: what happened, in the product or outside, and the flow runs that each one started."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["Event", "EventLaunch"]


class Event(SQLModel, table=True):
    """One event of one tenant's: from the product (`app`), a webhook or a pull (`external`).

    `run_id` is the run that sees to it: that matches it with the tenant's triggers.
    """

    __tablename__ = "events"
    __table_args__ = (
        tenant_reference(),
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint("source IN ('app', 'external')", name="source"),
        CheckConstraint("status IN ('created', 'success', 'error')", name="status"),
        # The same event told twice is one event, for as long as the log is kept.
        Index(
            "uq_events_key",
            *("tenant_id", "subject_id", "key"),
            unique=True,
            postgresql_where="key IS NOT NULL",
        ),
        Index(None, "workspace_id", "id"),
        Index("ix_events_subject", "subject_id", "id"),
        Index("ix_events_open", "run_id", "id", postgresql_where="status = 'created'"),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    source: str
    #: The type of app event, or the external subscription.
    subject_id: UUID
    #: The tenant's subscription through which an app event came, if it did.
    subscription_id: UUID | None = None
    connection_id: UUID | None = None
    integration_id: UUID | None = None
    #: What tells the event from others of its subject; null if nothing does.
    key: str | None = None
    payload: Any = document(nullable=True)
    status: str = Field(default="created", sa_column_kwargs={"server_default": "created"})
    error: dict[str, Any] | None = document(nullable=True)
    run_id: UUID
    created_at: datetime = written_at()
    finished_at: datetime | None = moment()


class EventLaunch(SQLModel, table=True):
    """A flow run that an event started at a trigger; there is never a second one."""

    __tablename__ = "event_launches"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "event_id"], ["events.tenant_id", "events.id"], ondelete="CASCADE"
        ),
        {"info": {"rls": "tenant"}},
    )

    event_id: UUID = Field(primary_key=True)
    trigger_id: UUID = Field(primary_key=True)
    workspace_id: UUID
    tenant_id: UUID
    run_id: UUID
