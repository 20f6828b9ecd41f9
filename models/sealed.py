"""Data keys, wrapped by a master key, and the values that they seal."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.base import moment, primary_key, tenant_reference, written_at

__all__ = ["DataKey", "SealedValue"]


class DataKey(SQLModel, table=True):
    """A key of one tenant, or of the workspace itself, stored wrapped.

    Deleting the row erases for good everything that was sealed with it.
    """

    __tablename__ = "data_keys"
    __table_args__ = (
        tenant_reference(),
        Index(
            "uq_data_keys_current",
            "workspace_id",
            "tenant_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where="retired_at IS NULL",
        ),
        {"info": {"rls": "private"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    #: Which master key wrapped it.
    master_key: str
    wrapped: bytes
    created_at: datetime = written_at()
    retired_at: datetime | None = moment()


class SealedValue(SQLModel, table=True):
    """One secret document: a connection's credentials, an integration's parameters.

    `subject_id` and `field` are part of what is authenticated, so a row that is moved or copied
    does not open. The API's tenant role may write `sealed` and never read it.
    """

    __tablename__ = "sealed_values"
    __table_args__ = (tenant_reference(), {"info": {"rls": "private"}})

    subject_id: UUID = Field(primary_key=True)
    field: str = Field(primary_key=True)
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    data_key_id: UUID = Field(foreign_key="data_keys.id")
    sealed: bytes
    #: Counts up at each write; a refresh only lands on the version that it started from.
    version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    updated_at: datetime = written_at()
