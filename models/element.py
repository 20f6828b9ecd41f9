"""Elements of every kind at every layer, in one table."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Computed, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.base import moment, ordered_document, primary_key, tenant_reference, written_at

__all__ = ["Element"]

#: What each layer must and must not name; the columns that place a row are checked against it.
_PLACES = """
CASE layer
  WHEN 'universe' THEN workspace_id IS NULL AND tenant_id IS NULL AND integration_id IS NULL
                       AND connection_id IS NULL
  WHEN 'workspace' THEN workspace_id IS NOT NULL AND tenant_id IS NULL AND integration_id IS NULL
                       AND connection_id IS NULL
  WHEN 'integration' THEN workspace_id IS NOT NULL AND tenant_id IS NULL
                       AND integration_id IS NOT NULL AND connection_id IS NULL
  WHEN 'tenant' THEN workspace_id IS NOT NULL AND tenant_id IS NOT NULL AND connection_id IS NULL
  WHEN 'connection' THEN workspace_id IS NOT NULL AND tenant_id IS NOT NULL
                       AND connection_id IS NOT NULL
  ELSE false
END
"""

#: 400 characters are 1,600 bytes at most: an index entry has room for 2,700.
_SEARCHED = (
    "lower(left(key || ' ' || coalesce(spec ->> 'name', '') || ' '"
    " || coalesce(spec ->> 'description', ''), 400))"
)


class Element(SQLModel, table=True):
    """One layer of an element: a whole definition, or a merge patch over what lies below it.

    The rows of one (kind, key) that are visible from a tenant's connection are its layers.
    """

    __tablename__ = "elements"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint(_PLACES, name="place"),
        CheckConstraint("instance_key IS NULL OR tenant_id IS NOT NULL", name="instance"),
        UniqueConstraint("workspace_id", "id"),
        Index(
            "uq_elements_place",
            "workspace_id",
            "kind",
            "key",
            "tenant_id",
            "integration_id",
            "connection_id",
            "app",
            "instance_key",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where="archived_at IS NULL",
        ),
        # Lists are read off this index alone, whatever they are narrowed to: 100,000 entries in
        # 15 ms, where reading as many rows would take a second.
        Index(
            "ix_elements_list",
            *("workspace_id", "kind", "tenant_id", "id"),
            postgresql_include=[
                *("search_text", "parent_id", "archived_at", "layer"),
                *("app", "integration_id", "connection_id"),
            ],
        ),
        Index(
            "ix_elements_integration",
            *("workspace_id", "kind", "tenant_id", "integration_id", "id"),
            postgresql_where="integration_id IS NOT NULL",
        ),
        Index(
            "ix_elements_app",
            *("workspace_id", "kind", "tenant_id", "app", "id"),
            postgresql_where="app IS NOT NULL",
        ),
        Index(
            "ix_elements_connection",
            *("connection_id", "kind", "id"),
            postgresql_where="connection_id IS NOT NULL",
        ),
        Index("ix_elements_parent", "parent_id", "id", postgresql_where="parent_id IS NOT NULL"),
        Index(
            "ix_elements_instances",
            "workspace_id",
            "kind",
            "id",
            postgresql_where="tenant_id IS NOT NULL",
        ),
        {"info": {"rls": "layered"}},
    )

    id: UUID = primary_key()
    kind: str
    layer: str
    workspace_id: UUID | None = Field(default=None, foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    #: Key of the connector that the element belongs to; null if it serves any app.
    app: str | None = None
    #: Which of several instances this is that a tenant's connection has of one element; null for
    #: the only one, or the first.
    instance_key: str | None = None
    key: str
    #: The element that this row customises; null for a whole definition.
    parent_id: UUID | None = None
    spec: dict[str, Any] = ordered_document()
    #: What a list's `search` looks through, in lower case: key, name and the description's start.
    search_text: str | None = Field(
        default=None, sa_column=Column(Text(collation="C"), Computed(_SEARCHED, persisted=True))
    )
    #: Hash of the file that a universe element was loaded from.
    source_hash: str | None = None
    revision: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
    archived_at: datetime | None = moment()
