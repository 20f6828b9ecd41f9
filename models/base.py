"""Columns and constraints that tables share, and the names that constraints get."""

from __future__ import annotations

from typing import Any

import uuid_utils.compat
from sqlalchemy import DateTime, ForeignKeyConstraint, text
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlmodel import Field, SQLModel

__all__ = [
    "JSONB",
    "document",
    "moment",
    "ordered_document",
    "primary_key",
    "tenant_reference",
    "written_at",
]

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def primary_key() -> Any:
    """Return an id column: a UUIDv7, made by the client so that PostgreSQL below 18 will do."""
    return Field(default_factory=uuid_utils.compat.uuid7, primary_key=True)


def moment(*, index: bool = False) -> Any:
    """Return an optional point in time, stored with its zone."""
    return Field(default=None, sa_type=DateTime(timezone=True), nullable=True, index=index)


def written_at() -> Any:
    """Return the moment at which the row was written, by the database's clock."""
    return Field(
        default=None,
        sa_type=DateTime(timezone=True),
        nullable=False,
        sa_column_kwargs={"server_default": text("now()")},
    )


def ordered_document() -> Any:
    """Return a JSON column that keeps the order of keys, which jsonb does not.

    In a specification the order carries meaning: the first key makes an object a formula.
    """
    return Field(
        default_factory=dict,
        sa_type=JSON,
        nullable=False,
        sa_column_kwargs={"server_default": text("'{}'")},
    )


def document(*, nullable: bool = False) -> Any:
    """Return a JSON column; an empty object unless it may be null."""
    if nullable:
        return Field(default=None, sa_type=JSONB, nullable=True)
    return Field(
        default_factory=dict,
        sa_type=JSONB,
        nullable=False,
        sa_column_kwargs={"server_default": text("'{}'")},
    )


def tenant_reference() -> ForeignKeyConstraint:
    """Return a reference that carries the workspace, so that no row can point across one.

    Foreign keys are checked past row security; a composite key is what keeps them inside.
    """
    return ForeignKeyConstraint(
        ["workspace_id", "tenant_id"], ["tenants.workspace_id", "tenants.id"]
    )
