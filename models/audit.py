"""The audit trail: who changed or saw what."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.base import document, primary_key, tenant_reference, written_at

__all__ = ["AuditRecord"]


class AuditRecord(SQLModel, table=True):
    """One change or disclosure, written in the transaction that made it."""

    __tablename__ = "audit_records"
    __table_args__ = (
        tenant_reference(),
        Index(None, "workspace_id", "id"),
        {"info": {"rls": "private"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    #: `manager`, or `tenant:<key>`.
    actor: str
    #: Such as `element:customised` or `connection:secrets_read`.
    tag: str
    target_kind: str
    target_id: UUID | None = None
    target_key: str | None = None
    #: Merge patch from what was to what is; never a secret.
    changes: dict[str, Any] | None = document(nullable=True)
    created_at: datetime = written_at()
