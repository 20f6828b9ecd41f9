"""Data links: which record of the product's is which record of a connected app."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import SQLModel

from models.base import primary_key, tenant_reference, written_at

__all__ = ["DataLink"]


class DataLink(SQLModel, table=True):
    """One pair of records in a data link table, over one connection of a tenant's."""

    __tablename__ = "data_links"
    __table_args__ = (
        tenant_reference(),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"], ["connections.tenant_id", "connections.id"]
        ),
        CheckConstraint("direction IN ('import', 'export', 'both')", name="direction"),
        Index(
            "uq_data_links_pair",
            *("connection_id", "table_id", "app_record_id", "external_record_id", "direction"),
            unique=True,
        ),
        Index("ix_data_links_external", "connection_id", "table_id", "external_record_id"),
        {"info": {"rls": "tenant"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    connection_id: UUID
    #: The element that the link stands in; links outlive its archiving.
    table_id: UUID
    app_record_id: str
    external_record_id: str
    direction: str
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
