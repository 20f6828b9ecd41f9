"""Caps: how many runs may be under way, or may wait, at once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import primary_key, tenant_reference, written_at

__all__ = ["Cap"]


class Cap(SQLModel, table=True):
    """At most `amount` runs at once: running ones, or, for a tenant, queued ones.

    Without a subject it holds for each tenant, connection or element of the workspace that has no
    cap of its own. Null is uncapped.
    """

    __tablename__ = "caps"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint(
            "scope IN ('workspace', 'tenant', 'connection', 'element', 'flows')", name="scope"
        ),
        CheckConstraint("state IN ('running', 'queued')", name="state"),
        CheckConstraint("state = 'running' OR scope = 'tenant'", name="queued_scope"),
        CheckConstraint("amount IS NULL OR amount >= 0", name="amount"),
        Index(
            "uq_caps_place",
            "workspace_id",
            "state",
            "scope",
            "tenant_id",
            "subject_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        {"info": {"rls": "owned"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    #: The tenant whose own cap this is; null for the workspace's.
    tenant_id: UUID | None = None
    #: What is counted: runs that are under way, or runs that wait.
    state: str = Field(default="running", sa_column_kwargs={"server_default": "running"})
    scope: str
    #: The connection or element that the cap is about; null for each of them.
    subject_id: UUID | None = None
    amount: int | None = None
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
