"""Alerts: what somebody should look at, said once for as long as it lasts."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, tenant_reference, written_at

__all__ = ["Alert"]


class Alert(SQLModel, table=True):
    """Something that is amiss in a workspace, or for one of its tenants.

    It is `resolved` by hand or with its cause. Until the cause is gone, there is no second one.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint("severity IN ('warning', 'critical')", name="severity"),
        CheckConstraint("status IN ('ongoing', 'resolved')", name="status"),
        Index(
            "uq_alerts_lasting",
            "workspace_id",
            "type",
            "subject",
            unique=True,
            postgresql_where="ended_at IS NULL",
        ),
        Index(None, "workspace_id", "id"),
        Index(None, "tenant_id", "id"),
        {"info": {"rls": "private"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    #: Such as `creditLimit`.
    type: str
    #: What tells two alerts of a type apart, such as a limit, whose it is and the threshold.
    subject: str
    severity: str
    status: str = Field(default="ongoing", sa_column_kwargs={"server_default": "ongoing"})
    data: dict[str, Any] = document()
    created_at: datetime = written_at()
    resolved_at: datetime | None = moment()
    #: When its cause was gone.
    ended_at: datetime | None = moment()
