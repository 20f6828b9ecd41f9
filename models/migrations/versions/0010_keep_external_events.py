"""keep external events.

Revision: 0010
Follows: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep what is heard of connected apps: subscriptions, pulls and webhooks."""
    op.create_table(
        "external_subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("integration_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column(
            "config",
            postgresql.JSON(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="unsubscribed", nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("is_wanted", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("is_paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_real_time", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("requires_pull", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("requires_full_sync", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("pull_interval", sa.Integer(), nullable=True),
        sa.Column("full_sync_interval", sa.Integer(), nullable=True),
        sa.Column("next_pull_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_refresh_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "state",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("baseline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scans", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_until", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "status IN ('subscribed', 'unsubscribed', 'error')",
            name=op.f("ck_external_subscriptions_status"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_external_subscriptions_tenant_id_connection_id_connections"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_external_subscriptions_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_subscriptions")),
        sa.UniqueConstraint(
            "connection_id",
            "config_hash",
            name=op.f("uq_external_subscriptions_connection_id_config_hash"),
        ),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_external_subscriptions_tenant_id_id")),
    )
    op.create_index(
        "ix_external_subscriptions_due",
        "external_subscriptions",
        ["next_pull_at"],
        unique=False,
        postgresql_where="next_pull_at IS NOT NULL AND is_wanted",
    )
    op.create_index(
        "ix_external_subscriptions_refresh",
        "external_subscriptions",
        ["next_refresh_at"],
        unique=False,
        postgresql_where="next_refresh_at IS NOT NULL AND is_wanted",
    )
    op.create_index(
        op.f("ix_external_subscriptions_workspace_id_id"),
        "external_subscriptions",
        ["workspace_id", "id"],
        unique=False,
    )
    op.create_table(
        "subscribed_triggers",
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=True),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_subscribed_triggers_tenant_id_connection_id_connections"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_subscribed_triggers_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("trigger_id", name=op.f("pk_subscribed_triggers")),
    )
    op.create_index(
        op.f("ix_subscribed_triggers_connection_id"),
        "subscribed_triggers",
        ["connection_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_subscribed_triggers_subscription_id"),
        "subscribed_triggers",
        ["subscription_id"],
        unique=False,
    )
    op.create_table(
        "event_setups",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_event_setups_tenant_id_connection_id_connections"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_event_setups_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "connection_id", name=op.f("pk_event_setups")),
    )
    op.create_table(
        "event_records",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scan", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["external_subscriptions.tenant_id", "external_subscriptions.id"],
            name=op.f("fk_event_records_tenant_id_subscription_id_external_subscriptions"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_event_records_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("subscription_id", "record_id", name=op.f("pk_event_records")),
    )
    op.create_index(
        op.f("ix_event_records_subscription_id_scan"),
        "event_records",
        ["subscription_id", "scan"],
        unique=False,
    )
    op.create_table(
        "external_pulls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("integration_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("is_full_scan", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), server_default="queued", nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("scan", sa.BigInteger(), nullable=True),
        sa.Column(
            "progress",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("records", sa.Integer(), server_default="0", nullable=False),
        sa.Column("events", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'success', 'error')",
            name=op.f("ck_external_pulls_status"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["external_subscriptions.tenant_id", "external_subscriptions.id"],
            name=op.f("fk_external_pulls_tenant_id_subscription_id_external_subscriptions"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_external_pulls_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_pulls")),
    )
    op.create_index(
        "ix_external_pulls_subscription", "external_pulls", ["subscription_id", "id"], unique=False
    )
    op.create_index(
        op.f("ix_external_pulls_workspace_id_id"),
        "external_pulls",
        ["workspace_id", "id"],
        unique=False,
    )
    op.create_index(
        "uq_external_pulls_open",
        "external_pulls",
        ["connection_id"],
        unique=True,
        postgresql_where="status IN ('queued', 'running')",
    )
    op.create_table(
        "incoming_webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("integration_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(), server_default="created", nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('created', 'success', 'error')", name=op.f("ck_incoming_webhooks_status")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["external_subscriptions.tenant_id", "external_subscriptions.id"],
            name=op.f("fk_incoming_webhooks_tenant_id_subscription_id_external_subscriptions"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_incoming_webhooks_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incoming_webhooks")),
    )
    op.create_index(
        "ix_incoming_webhooks_open",
        "incoming_webhooks",
        ["run_id"],
        unique=False,
        postgresql_where="status = 'created'",
    )
    op.create_index(
        "ix_incoming_webhooks_subscription",
        "incoming_webhooks",
        ["subscription_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_incoming_webhooks_workspace_id_id"),
        "incoming_webhooks",
        ["workspace_id", "id"],
        unique=False,
    )


def downgrade() -> None:
    """Forget what connected apps said."""
    op.drop_table("incoming_webhooks")
    op.drop_table("external_pulls")
    op.drop_table("event_records")
    op.drop_table("event_setups")
    op.drop_table("subscribed_triggers")
    op.drop_table("external_subscriptions")
