"""Idempotency keys: the same request twice is one run."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from models.base import moment, tenant_reference, written_at

__all__ = ["IdempotencyKey"]


class IdempotencyKey(SQLModel, table=True):
    """The first request that a tenant made with a key, and the run that it became."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (tenant_reference(), {"info": {"rls": "tenant"}})

    tenant_id: UUID = Field(primary_key=True)
    key: str = Field(primary_key=True)
    workspace_id: UUID
    #: SHA-256 of what was asked for; the same key with another one is refused.
    fingerprint: bytes
    run_id: UUID
    created_at: datetime = written_at()
    expires_at: datetime | None = moment(index=True)
