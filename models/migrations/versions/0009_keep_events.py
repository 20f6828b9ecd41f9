"""keep events.

Revision: 0009
Follows: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep events, the runs that they start, and the keys under which they come in."""
    op.create_table(
        "webhook_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('app-event-type', 'app-event-subscription', 'external-subscription')",
            name=op.f("ck_webhook_keys_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_webhook_keys_workspace_id_tenant_id_tenants"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_webhook_keys_workspace_id_workspaces"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_keys")),
    )
    op.create_index(
        "uq_webhook_keys_current",
        "webhook_keys",
        ["subject_id"],
        unique=True,
        postgresql_where="expires_at IS NULL",
    )
    op.create_index("uq_webhook_keys_hash", "webhook_keys", ["hash"], unique=True)
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("integration_id", sa.Uuid(), nullable=True),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(), server_default="created", nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("source IN ('app', 'external')", name=op.f("ck_events_source")),
        sa.CheckConstraint(
            "status IN ('created', 'success', 'error')", name=op.f("ck_events_status")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_events_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_events_tenant_id_id")),
    )
    op.create_index(
        "ix_events_open",
        "events",
        ["run_id", "id"],
        unique=False,
        postgresql_where="status = 'created'",
    )
    op.create_index("ix_events_subject", "events", ["subject_id", "id"], unique=False)
    op.create_index(
        op.f("ix_events_workspace_id_id"), "events", ["workspace_id", "id"], unique=False
    )
    op.create_index(
        "uq_events_key",
        "events",
        ["tenant_id", "subject_id", "key"],
        unique=True,
        postgresql_where="key IS NOT NULL",
    )
    op.create_table(
        "event_launches",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "event_id"],
            ["events.tenant_id", "events.id"],
            name=op.f("fk_event_launches_tenant_id_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_event_launches_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("event_id", "trigger_id", name=op.f("pk_event_launches")),
    )
    op.create_table(
        "app_event_subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("type_id", sa.Uuid(), nullable=False),
        sa.Column("type_key", sa.String(), nullable=False),
        sa.Column("instance_key", sa.String(), nullable=True),
        sa.Column("is_subscribed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("response", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
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
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_app_event_subscriptions_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_event_subscriptions")),
    )
    op.create_index(
        op.f("ix_app_event_subscriptions_workspace_id_id"),
        "app_event_subscriptions",
        ["workspace_id", "id"],
        unique=False,
    )
    op.create_index(
        "uq_app_event_subscriptions_place",
        "app_event_subscriptions",
        ["tenant_id", "type_id", "instance_key"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where="archived_at IS NULL",
    )


def downgrade() -> None:
    """Forget events."""
    op.drop_table("app_event_subscriptions")
    op.drop_table("event_launches")
    op.drop_table("events")
    op.drop_table("webhook_keys")
