"""App event subscriptions: a tenant's own address for a type of event."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["AppEventSubscription"]


class AppEventSubscription(SQLModel, table=True):
    """Where events of a type come in for one tenant, and whether the product was told."""

    __tablename__ = "app_event_subscriptions"
    __table_args__ = (
        tenant_reference(),
        Index(
            "uq_app_event_subscriptions_place",
            *("tenant_id", "type_id", "instance_key"),
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where="archived_at IS NULL",
        ),
        Index(None, "workspace_id", "id"),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    #: The type of app event; subscriptions outlive its archiving.
    type_id: UUID
    type_key: str
    instance_key: str | None = None
    is_subscribed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: What the product was asked, and what it said.
    request: dict[str, Any] | None = document(nullable=True)
    response: dict[str, Any] | None = document(nullable=True)
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
    archived_at: datetime | None = moment()
