"""Activity: structured, tenant-tagged facts about what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["ActivityRecord"]


class ActivityRecord(SQLModel, table=True):
    """One fact, append-only, named `source:subject:action`, such as `action:run:completed`.

    Partitioned by its UUIDv7 id. Inputs and outputs are redacted and capped before they get here.
    """

    __tablename__ = "activity_records"
    __table_args__ = (
        tenant_reference(),
        Index(None, "tenant_id", "id"),
        Index(None, "workspace_id", "id"),
        Index(None, "run_id"),
        {"info": {"rls": "tenant"}, "postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    tag: str
    run_id: UUID | None = None
    status: str
    element_id: UUID | None = None
    element_key: str | None = None
    element_revision: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    attempt: int = 0
    #: Milliseconds from the run's start to its end.
    duration_ms: float = 0.0
    input: Any = document(nullable=True)
    output: Any = document(nullable=True)
    error: dict[str, Any] | None = document(nullable=True)
    #: Resource -> units consumed.
    credits: dict[str, float] = document()
    meta: dict[str, Any] | None = document(nullable=True)
    started_at: datetime | None = moment()
    created_at: datetime = written_at()
