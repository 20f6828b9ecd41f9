"""tell of events.

Revision: 0011
Follows: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    """Keep webhook endpoints, their secrets, what they are told, and alerts."""
    op.add_column(
        "limits",
        sa.Column(
            "alert_at", sa.ARRAY(sa.Float()), server_default=sa.text("'{0.8,1}'"), nullable=False
        ),
    )
    op.create_index(
        "ix_connections_ill",
        "connections",
        ["id"],
        postgresql_where=sa.text("state = 'CLIENT_ACTION_REQUIRED'"),
    )
    _endpoints()
    _secrets()
    _deliveries()
    _alerts()


def _endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("is_main", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        *_moments("failing_since", "quiet_until"),
        *_written("created_at", "updated_at"),
        *_moments("deleted_at"),
        sa.CheckConstraint(
            "disabled_reason IN ('gone', 'failing')",
            name=op.f("ck_webhook_endpoints_disabled_reason"),
        ),
        _of_workspace("webhook_endpoints"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
        sa.UniqueConstraint(
            "workspace_id", "id", name=op.f("uq_webhook_endpoints_workspace_id_id")
        ),
    )
    op.create_index(
        "uq_webhook_endpoints_main",
        "webhook_endpoints",
        ["workspace_id"],
        unique=True,
        postgresql_where=sa.text("is_main"),
    )


def _secrets() -> None:
    op.create_table(
        "webhook_secrets",
        *_ids("id", "workspace_id", "endpoint_id", "data_key_id"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        *_written("created_at"),
        *_moments("expires_at"),
        _of_workspace("webhook_secrets"),
        _of_endpoint("webhook_secrets"),
        sa.ForeignKeyConstraint(
            ["data_key_id"], ["data_keys.id"], name=op.f("fk_webhook_secrets_data_key_id_data_keys")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_secrets")),
    )
    op.create_index(op.f("ix_webhook_secrets_endpoint_id"), "webhook_secrets", ["endpoint_id"])


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        *_ids("id", "workspace_id"),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        *_ids("endpoint_id"),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("data", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        *_written("due_at"),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim", sa.Uuid(), nullable=True),
        sa.Column("attempts", JSONB(), server_default=sa.text("'[]'"), nullable=False),
        *_written("created_at"),
        *_moments("delivered_at"),
        sa.CheckConstraint(
            "status IN ('delivered', 'failed', 'pending')",
            name=op.f("ck_webhook_deliveries_status"),
        ),
        _of_workspace("webhook_deliveries"),
        _of_tenant("webhook_deliveries"),
        _of_endpoint("webhook_deliveries"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["endpoint_id", "due_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_webhook_deliveries_claimed",
        "webhook_deliveries",
        ["endpoint_id"],
        postgresql_where=sa.text("claim IS NOT NULL"),
    )
    for columns in (["workspace_id", "id"], ["endpoint_id", "id"], ["created_at"]):
        op.create_index(
            op.f("ix_webhook_deliveries_" + "_".join(columns)), "webhook_deliveries", columns
        )


def _alerts() -> None:
    op.create_table(
        "alerts",
        *_ids("id", "workspace_id"),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="ongoing", nullable=False),
        sa.Column("data", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        *_written("created_at"),
        *_moments("resolved_at", "ended_at"),
        sa.CheckConstraint("severity IN ('warning', 'critical')", name=op.f("ck_alerts_severity")),
        sa.CheckConstraint("status IN ('ongoing', 'resolved')", name=op.f("ck_alerts_status")),
        _of_workspace("alerts"),
        _of_tenant("alerts"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "uq_alerts_lasting",
        "alerts",
        ["workspace_id", "type", "subject"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    for columns in (["workspace_id", "id"], ["tenant_id", "id"]):
        op.create_index(op.f("ix_alerts_" + "_".join(columns)), "alerts", columns)


def _ids(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.Uuid(), nullable=False) for name in names]


def _moments(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in names]


def _written(*names: str) -> list[sa.Column[object]]:
    return [
        sa.Column(name, sa.DateTime(timezone=True), server_default=_NOW, nullable=False)
        for name in names
    ]


def _of_workspace(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id"], ["workspaces.id"], name=op.f(f"fk_{table}_workspace_id_workspaces")
    )


def _of_tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", "tenant_id"],
        ["tenants.workspace_id", "tenants.id"],
        name=op.f(f"fk_{table}_workspace_id_tenant_id_tenants"),
    )


def _of_endpoint(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", "endpoint_id"],
        ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
        name=op.f(f"fk_{table}_workspace_id_endpoint_id_webhook_endpoints"),
        ondelete="CASCADE",
    )


def downgrade() -> None:
    """Forget all of that."""
    for table in ("alerts", "webhook_deliveries", "webhook_secrets", "webhook_endpoints"):
        op.drop_table(table)
    op.drop_index("ix_connections_ill", table_name="connections")
    op.drop_column("limits", "alert_at")
