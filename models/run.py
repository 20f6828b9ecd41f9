"""Runs: the durable record of each execution that was accepted."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["Run"]


class Run(SQLModel, table=True):
    """One execution, from `queued` to a terminal status that is never left again.

    Partitioned by its UUIDv7 id, that is, by time. The worker that holds a run knows its
    `lease_token`; whoever does not cannot finish it.
    """

    __tablename__ = "runs"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint(
            "status IN ('queued', 'running', 'completed', 'failed', 'stopped')", name="status"
        ),
        Index(None, "tenant_id", "id"),
        Index(None, "workspace_id", "id"),
        Index(
            "ix_runs_open",
            "id",
            postgresql_where="status IN ('queued', 'running')",
        ),
        {"info": {"rls": "tenant"}, "postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    #: `action`, `connection-test` or `connection-refresh`.
    kind: str
    status: str = Field(default="queued", sa_column_kwargs={"server_default": "queued"})
    queue: str = "default"
    #: What was asked for: selector, connection, integration, or the whole body of /act.
    request: dict[str, Any] = document()
    input: Any = document(nullable=True)
    output: Any = document(nullable=True)
    error: dict[str, Any] | None = document(nullable=True)
    meta: dict[str, Any] | None = document(nullable=True)
    element_id: UUID | None = None
    element_key: str | None = None
    #: Revision and hash of the effective element that was used.
    element_revision: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    attempt: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    lease_token: UUID | None = None
    lease_until: datetime | None = moment()
    #: When the outside call of the current attempt began; from then on its effect may exist.
    called_at: datetime | None = moment()
    stop_requested: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    sent_at: datetime = written_at()
    created_at: datetime = written_at()
    started_at: datetime | None = moment()
    finished_at: datetime | None = moment()
