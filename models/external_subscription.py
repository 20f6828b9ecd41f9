"""External event subscriptions: what a tenant's flows want to hear of one of its connections."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.base import (
    document,
    moment,
    ordered_document,
    primary_key,
    tenant_reference,
    written_at,
)

__all__ = ["EventRecord", "EventSetup", "ExternalSubscription", "SubscribedTrigger"]


class ExternalSubscription(SQLModel, table=True):
    """One thing to be told of a connection; triggers that want the same share it."""

    __tablename__ = "external_subscriptions"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"]
        ),
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("connection_id", "config_hash"),
        CheckConstraint("status IN ('subscribed', 'unsubscribed', 'error')", name="status"),
        Index(None, "workspace_id", "id"),
        Index(
            "ix_external_subscriptions_due",
            "next_pull_at",
            postgresql_where="next_pull_at IS NOT NULL AND is_wanted",
        ),
        Index(
            "ix_external_subscriptions_refresh",
            "next_refresh_at",
            postgresql_where="next_refresh_at IS NOT NULL AND is_wanted",
        ),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    integration_id: UUID
    connection_id: UUID
    #: `{type, dataSource?, eventKey?, eventParameters?}`.
    config: dict[str, Any] = ordered_document()
    config_hash: str
    status: str = Field(default="unsubscribed", sa_column_kwargs={"server_default": "unsubscribed"})
    error: dict[str, Any] | None = document(nullable=True)
    #: Whether a live trigger wants it.
    is_wanted: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: Whether somebody unsubscribed it by hand, which a trigger's change does not undo.
    is_paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    is_real_time: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    requires_pull: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    requires_full_sync: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: Seconds between two looks for what is new, and between two looks at everything.
    pull_interval: int | None = None
    full_sync_interval: int | None = None
    next_pull_at: datetime | None = moment()
    next_refresh_at: datetime | None = moment()
    #: What the app said when it was subscribed to, such as the id of its webhook.
    state: dict[str, Any] = document()
    #: When everything was looked at for the first time, from when on changes are events.
    baseline_at: datetime | None = moment()
    #: Number of the last look at everything, and the moment up to which changes were read.
    scans: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    changed_until: str | None = None
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = written_at()
    updated_at: datetime = written_at()


class SubscribedTrigger(SQLModel, table=True):
    """Which subscription a trigger listens to, as of which revision of it was set up."""

    __tablename__ = "subscribed_triggers"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"]
        ),
        Index(None, "subscription_id"),
        Index(None, "connection_id"),
        {"info": {"rls": "tenant"}},
    )

    trigger_id: UUID = Field(primary_key=True)
    workspace_id: UUID
    tenant_id: UUID
    connection_id: UUID
    #: Null if the trigger asks for what the connector does not offer; then `error` says so.
    subscription_id: UUID | None = None
    revision: str
    is_live: bool
    error: dict[str, Any] | None = document(nullable=True)


class EventRecord(SQLModel, table=True):
    """What a record of the app's was like when it was seen last: a hash of its fields."""

    __tablename__ = "event_records"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["external_subscriptions.tenant_id", "external_subscriptions.id"],
        ),
        # What a look at everything did not meet.
        Index(None, "subscription_id", "scan"),
        {"info": {"rls": "tenant"}},
    )

    subscription_id: UUID = Field(primary_key=True)
    record_id: str = Field(primary_key=True)
    workspace_id: UUID
    tenant_id: UUID
    hash: bytes
    #: The look at everything that met it last.
    scan: int = Field(sa_type=BigInteger)


class EventSetup(SQLModel, table=True):
    """The run that last brought a connection's subscriptions to what its triggers want."""

    __tablename__ = "event_setups"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"]
        ),
        {"info": {"rls": "tenant"}},
    )

    tenant_id: UUID = Field(primary_key=True)
    connection_id: UUID = Field(primary_key=True)
    workspace_id: UUID
    run_id: UUID
    #: How many of them in a row did not come to their end; the next one waits for longer.
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    asked_at: datetime = written_at()
