"""Schedules: what the clock starts for a tenant, and when next."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import (
    document,
    moment,
    ordered_document,
    primary_key,
    tenant_reference,
    written_at,
)

__all__ = ["Schedule"]


class Schedule(SQLModel, table=True):
    """One flow or action of one tenant, started again and again.

    Whoever fires a tick holds the row's lock, and moves it on in the transaction that writes the
    tick's run. So a tick has one run, whatever number of schedulers there is.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"]
        ),
        CheckConstraint("kind IN ('flow', 'action')", name="kind"),
        Index(None, "tenant_id", "id"),
        Index(None, "workspace_id", "id"),
        Index("ix_schedules_due", "next_at", postgresql_where="next_at IS NOT NULL"),
        {"info": {"rls": "tenant"}},
    )

    #: That of the flow's trigger, where one is what makes the schedule.
    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    #: Whether it was made by a trigger in a flow, and not by a call.
    is_of_trigger: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    name: str | None = None
    #: What is started: `flow` or `action`.
    kind: str
    element_id: UUID
    element_key: str
    #: Of a flow: the trigger at which its run starts.
    node_key: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    #: Which of the connection's instances is started; null for the first one.
    instance_key: str | None = None
    #: `runtime.schedules.timing.Timing`, as it was written.
    timing: dict[str, Any] = ordered_document()
    #: What each run gets; null for the times of its tick.
    input: Any = document(nullable=True)
    #: Somebody paused it.
    is_paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: Why it stands still although nobody paused it, in words.
    obstacle: str | None = None
    #: The tick that comes next, and when it is due: later by the jitter, or while it is held.
    #: Both null while there is none.
    nominal_at: datetime | None = moment()
    next_at: datetime | None = moment()
    #: Whether ticks wait for the run before them to end.
    is_held: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: The last tick that ran, and its run.
    last_scheduled_at: datetime | None = moment()
    last_run_id: UUID | None = None
    runs: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: The last tick that did not run, and why.
    last_skipped_at: datetime | None = moment()
    last_skipped_reason: str | None = None
    #: How often that happened; the ticks of one outage count once.
    skips: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    revision: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
