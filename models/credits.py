"""Limits, the rolling windows that enforce them, and the usage ledger that is the truth."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Float, Index, Numeric, text
from sqlmodel import Field, SQLModel

from models.base import moment, primary_key, tenant_reference, written_at

__all__ = ["CreditBucket", "CreditWindow", "Limit", "Reservation", "UsageRecord"]


class Limit(SQLModel, table=True):
    """At most `amount` units of a resource inside any `window` seconds; null is unlimited.

    With a tenant it is that tenant's own figure, which stands in for the workspace's limit of the
    same resource, scope, subject and window.
    """

    __tablename__ = "limits"
    __table_args__ = (
        tenant_reference(),
        CheckConstraint(
            "scope IN ('workspace', 'tenant', 'integration', 'connection', 'element')",
            name="scope",
        ),
        CheckConstraint("amount IS NULL OR amount >= 0", name="amount"),
        CheckConstraint("window_seconds > 0", name="window"),
        CheckConstraint("when_reached IN ('refuse', 'park')", name="when_reached"),
        Index(
            "uq_limits_place",
            "workspace_id",
            "resource",
            "scope",
            "tenant_id",
            "subject_id",
            "window_seconds",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where="archived_at IS NULL",
        ),
        {"info": {"rls": "owned"}},
    )

    id: UUID = primary_key()
    workspace_id: UUID = Field(foreign_key="workspaces.id")
    tenant_id: UUID | None = None
    resource: str
    scope: str
    #: The integration, connection or element that the limit is about, by its scope.
    subject_id: UUID | None = None
    window_seconds: int
    amount: Decimal | None = Field(default=None, sa_type=Numeric)
    #: Whether a run that does not fit is refused, or parked until it does.
    when_reached: str = Field(default="refuse", sa_column_kwargs={"server_default": "refuse"})
    #: Parts of `amount` at which an alert is raised.
    alert_at: list[float] = Field(
        default=[0.8, 1.0],
        sa_type=ARRAY(Float),
        nullable=False,
        sa_column_kwargs={"server_default": text("'{0.8,1}'")},
    )
    created_at: datetime = written_at()
    updated_at: datetime = written_at()
    archived_at: datetime | None = moment()


class CreditWindow(SQLModel, table=True):
    """What one limit counts for one subject: the sum over its live buckets.

    The row is also the lock under which a reservation is decided.
    """

    __tablename__ = "credit_windows"
    __table_args__ = (tenant_reference(), {"info": {"rls": "owned"}})

    limit_id: UUID = Field(primary_key=True, foreign_key="limits.id")
    subject_id: UUID = Field(primary_key=True)
    workspace_id: UUID
    tenant_id: UUID | None = None
    total: Decimal = Field(
        default=Decimal(0), sa_type=Numeric, sa_column_kwargs={"server_default": "0"}
    )


class CreditBucket(SQLModel, table=True):
    """Units that were consumed or reserved within one slice of a window."""

    __tablename__ = "credit_buckets"
    __table_args__ = (tenant_reference(), {"info": {"rls": "owned"}})

    limit_id: UUID = Field(primary_key=True, foreign_key="limits.id")
    subject_id: UUID = Field(primary_key=True)
    #: Number of the slice: epoch seconds divided by the slice's length.
    slice: int = Field(primary_key=True, sa_type=BigInteger)
    workspace_id: UUID
    tenant_id: UUID | None = None
    amount: Decimal = Field(sa_type=Numeric)


class Reservation(SQLModel, table=True):
    """Units that a run holds until it ends; then they are settled or released."""

    __tablename__ = "reservations"
    __table_args__ = (
        tenant_reference(),
        Index(None, "limit_id", "subject_id"),
        {"info": {"rls": "tenant"}},
    )

    run_id: UUID = Field(primary_key=True)
    limit_id: UUID = Field(primary_key=True, foreign_key="limits.id")
    workspace_id: UUID
    tenant_id: UUID
    subject_id: UUID
    resource: str
    slice: int = Field(sa_type=BigInteger)
    amount: Decimal = Field(sa_type=Numeric)
    created_at: datetime = written_at()


class UsageRecord(SQLModel, table=True):
    """One entry of the ledger: what a run really consumed of a resource."""

    __tablename__ = "usage_records"
    __table_args__ = (
        tenant_reference(),
        Index(None, "tenant_id", "resource", "id"),
        Index(None, "workspace_id", "resource", "id"),
        {"info": {"rls": "tenant"}, "postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = primary_key()
    workspace_id: UUID
    tenant_id: UUID
    run_id: UUID
    resource: str
    amount: Decimal = Field(sa_type=Numeric)
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    element_id: UUID | None = None
    created_at: datetime = written_at()
