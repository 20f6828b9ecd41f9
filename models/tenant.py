"""Tenants: the people, teams, organisations, apps or agents that use integrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, written_at

__all__ = ["Tenant"]


class Tenant(SQLModel, table=True):
    """The unit of isolation. `key` is the caller's own id, unique in the workspace."""

    __tablename__ = "tenants"
    __table_args__ = (
        UniqueConstraint("workspace_id", "key"),
        UniqueConstraint("workspace_id", "id"),
        {"info": {"rls": "tenant_itself"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    key: str
    name: str
    fields: dict[str, Any] = document()
    meta: dict[str, Any] = document()
    is_test: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    revision: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
    last_active_at: datetime | None = moment()
    #: Issue time of the token whose name and fields were taken last; older tokens change nothing.
    profile_at: datetime | None = moment()
    archived_at: datetime | None = moment()
