"""Node runs: what each step of a flow run came to, from which a crashed one goes on."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, tenant_reference, written_at

__all__ = ["NodeRun"]


class NodeRun(SQLModel, table=True):
    """One run of one node, for one of the inputs that came to it.

    Its id follows from its parent's and from which of the parent's outputs it got over which link,
    so that whoever takes a flow run over meets the same ids again.
    """

    __tablename__ = "node_runs"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint(
            "status IN ('running', 'waiting', 'completed', 'failed', 'skipped')", name="status"
        ),
        Index(None, "run_id", "node_key", "started_at"),
        {"info": {"rls": "tenant"}},
    )

    run_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    tenant_id: UUID
    node_key: str
    #: The node run whose output this one got; null for the first.
    parent_id: UUID | None = None
    #: Number of the item, for the first node of a for-each's body.
    item: int | None = None
    status: str
    #: Which of its parent's outputs it got; null for the first node of a run and of a body.
    output_number: int | None = None
    #: Null as well where it is a large one of the parent's outputs, which is kept there only.
    input: Any = document(nullable=True)
    #: What is passed on: each output goes along each link.
    outputs: list[Any] | None = document(nullable=True)
    #: Bytes of each output as JSON, so that nobody has to read an output to know.
    output_sizes: list[int] | None = document(nullable=True)
    error: dict[str, Any] | None = document(nullable=True)
    logs: list[dict[str, Any]] | None = document(nullable=True)
    #: Resource -> units consumed.
    usage: dict[str, float] | None = document(nullable=True)
    attempt: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    #: When a call began whose outcome would not be known after a crash.
    called_at: datetime | None = moment()
    #: What it waits for: `{for, event?, message?}`.
    waiting: dict[str, Any] | None = document(nullable=True)
    #: Until when it waits; null if only a signal can end that.
    due_at: datetime | None = moment()
    #: What came from outside: an event's data, or a decision.
    signal: dict[str, Any] | None = document(nullable=True)
    #: The flow run that this node started.
    child_id: UUID | None = None
    started_at: datetime = written_at()
    finished_at: datetime | None = moment()
