"""Webhook keys: what stands at the end of an address to which somebody outside may post."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import moment, primary_key, tenant_reference, written_at

__all__ = ["WebhookKey"]


class WebhookKey(SQLModel, table=True):
    """A key by its hash; the key itself is sealed, under the id of what it is for.

    Without a tenant it is the workspace's: that of a type of app event.
    """

    __tablename__ = "webhook_keys"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint(
            "kind IN ('app-event-type', 'app-event-subscription', 'external-subscription')",
            name="kind",
        ),
        Index("uq_webhook_keys_hash", "hash", unique=True),
        Index(
            "uq_webhook_keys_current",
            "subject_id",
            unique=True,
            postgresql_where="expires_at IS NULL",
        ),
        {"info": {"rls": "keyed"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    #: SHA-256 of the key.
    hash: bytes
    kind: str
    #: The type of app event, or the subscription.
    subject_id: UUID
    created_at: datetime = written_at()
    #: When the overlap of a rotation ends; null for the current key.
    expires_at: datetime | None = moment()
