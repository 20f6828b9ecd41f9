"""Workspaces and the secrets that sign their tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from models.base import document, moment, primary_key, written_at

__all__ = ["SigningSecret", "Workspace"]


class Workspace(SQLModel, table=True):
    """One environment of a product; owns keys, settings and templates."""

    __tablename__ = "workspaces"
    __table_args__ = ({"info": {"rls": "workspace_itself"}},)

    id: UUID = primary_key()
    key: str = Field(unique=True)
    name: str
    #: publicKeys, jwksUri, disableSecretKeyAuth, editablePaths …
    settings: dict[str, Any] = document()
    revision: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime = written_at()
    archived_at: datetime | None = moment()


class SigningSecret(SQLModel, table=True):
    """A workspace's shared secret, sealed. During a rotation two are valid at once."""

    __tablename__ = "signing_secrets"
    __table_args__ = (Index(None, "workspace_id"), {"info": {"rls": "workspace"}})

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    data_key_id: UUID = Field(foreign_key="data_keys.id")
    sealed: bytes
    created_at: datetime = written_at()
    #: When the overlap of a rotation ends; null for the current secret.
    expires_at: datetime | None = moment()
