"""Runs: the durable record of each execution that was accepted."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, SmallInteger, text
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
        # What is under way: few rows, read by the relay and by whoever looks for expired leases.
        Index("ix_runs_running", "id", postgresql_where="status = 'running'"),
        # What the queue was told of, by when; the relay doubts the oldest.
        Index(
            "ix_runs_sent",
            "sent_at",
            postgresql_where="status = 'queued' AND sent_at IS NOT NULL",
        ),
        # The deep backlog, in the order in which it goes to the queue.
        Index(
            "ix_runs_unsent",
            "tenant_id",
            "queue",
            text("priority DESC"),
            "id",
            postgresql_where="status = 'queued' AND sent_at IS NULL AND due_at IS NULL",
        ),
        # What waits for longer than the queue is asked to remember.
        Index(
            "ix_runs_due",
            "due_at",
            postgresql_where="status = 'queued' AND sent_at IS NULL AND due_at IS NOT NULL",
        ),
        Index(
            "ix_runs_dead",
            "workspace_id",
            "id",
            postgresql_where="dead_reason IS NOT NULL",
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
    #: What the code of its last attempt logged: `{level, message, at}` a line.
    logs: list[dict[str, Any]] | None = document(nullable=True)
    meta: dict[str, Any] | None = document(nullable=True)
    element_id: UUID | None = None
    element_key: str | None = None
    #: Revision and hash of the effective element that was used.
    element_revision: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    #: Place in the tenant's lane, from -9 to 9; the higher goes first.
    priority: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    #: Starts so far; one that was handed back or parked does not count.
    attempt: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: How many of these starts ended with the death of their worker.
    takeovers: int = Field(
        default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"}
    )
    #: Times that the outside app, or a limit, asked to come again later.
    parks: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    #: Before this moment a queued run does not start: a retry, or a run that was parked.
    due_at: datetime | None = moment()
    #: Why it waits until then: `{reason, error}`.
    waiting: dict[str, Any] | None = document(nullable=True)
    #: A failed run is a dead letter until somebody has dealt with it: why it failed for good.
    dead_reason: str | None = None
    #: The run that a dead letter was driven again as, and the dead letter that this run repeats.
    redriven_as: UUID | None = None
    redrive_of: UUID | None = None
    lease_token: UUID | None = None
    lease_until: datetime | None = moment()
    #: When the outside call of the current attempt began; from then on its effect may exist.
    called_at: datetime | None = moment()
    stop_requested: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: When the queue was last told; null while the run waits in this table only.
    sent_at: datetime | None = Field(
        default=None,
        sa_type=DateTime(timezone=True),
        nullable=True,
        sa_column_kwargs={"server_default": text("now()")},
    )
    created_at: datetime = written_at()
    started_at: datetime | None = moment()
    finished_at: datetime | None = moment()
