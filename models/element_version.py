"""Published versions of connectors and packages."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.base import moment, ordered_document, primary_key, written_at

__all__ = ["ElementVersion"]


class ElementVersion(SQLModel, table=True):
    """What an element was when it was published under a number; that never changes again."""

    __tablename__ = "element_versions"
    __table_args__ = (
        CheckConstraint("kind IN ('connector', 'package')", name="kind"),
        UniqueConstraint("workspace_id", "kind", "key", "version"),
        {"info": {"rls": "shared"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    kind: str
    key: str
    #: Of the form 1.2.3 or 1.2.3-beta.1 (semver.org).
    version: str
    spec: dict[str, Any] = ordered_document()
    #: The revision of the effective element that was published.
    source_revision: str
    created_at: datetime = written_at()
    archived_at: datetime | None = moment()
