"""keep triggers and schedules.

Revision: 0008
Follows: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep which triggers of flows are live for whom, and what the clock starts when."""
    now = sa.text("now()")
    op.create_table(
        "flow_triggers",
        *(
            sa.Column(name, sa.Uuid(), nullable=False)
            for name in ("id", "workspace_id", "tenant_id", "flow_id")
        ),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("flow_key", "node_key", "type")
        ),
        sa.Column("integration_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("config", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=False)
            for name in ("created_at", "updated_at")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_flow_triggers_workspace_id_tenant_id_tenants"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_flow_triggers_tenant_id_connection_id_connections"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flow_triggers")),
    )
    op.create_index(
        "uq_flow_triggers_place",
        "flow_triggers",
        ["tenant_id", "flow_id", "node_key", "connection_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        op.f("ix_flow_triggers_workspace_id_id"), "flow_triggers", ["workspace_id", "id"]
    )
    op.create_index(
        "ix_flow_triggers_live",
        "flow_triggers",
        ["tenant_id", "type"],
        postgresql_where=sa.text("is_live"),
    )
    op.create_table(
        "trigger_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("flow_key", sa.String(), nullable=True),
        sa.Column("after", sa.Uuid(), nullable=True),
        sa.Column("taken_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trigger_changes")),
    )
    op.create_table(
        "schedules",
        *(
            sa.Column(name, sa.Uuid(), nullable=False)
            for name in ("id", "workspace_id", "tenant_id")
        ),
        sa.Column("is_of_trigger", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("element_id", sa.Uuid(), nullable=False),
        sa.Column("element_key", sa.String(), nullable=False),
        sa.Column("node_key", sa.String(), nullable=True),
        sa.Column("integration_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("timing", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("input", postgresql.JSONB(), nullable=True),
        sa.Column("is_paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("obstacle", sa.String(), nullable=True),
        sa.Column("nominal_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_held", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("last_scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_id", sa.Uuid(), nullable=True),
        sa.Column("runs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_skipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_skipped_reason", sa.String(), nullable=True),
        sa.Column("skips", sa.Integer(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=False)
            for name in ("created_at", "updated_at")
        ),
        sa.CheckConstraint("kind IN ('flow', 'action')", name=op.f("ck_schedules_kind")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_schedules_workspace_id_tenant_id_tenants"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_schedules_tenant_id_connection_id_connections"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index(op.f("ix_schedules_tenant_id_id"), "schedules", ["tenant_id", "id"])
    op.create_index(op.f("ix_schedules_workspace_id_id"), "schedules", ["workspace_id", "id"])
    op.create_index(
        "ix_schedules_due",
        "schedules",
        ["next_at"],
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    # The triggers of the flows that are there already.
    op.execute("INSERT INTO trigger_changes (id) VALUES (gen_random_uuid())")


def downgrade() -> None:
    """Forget triggers and schedules."""
    op.execute(
        "DROP FUNCTION IF EXISTS vesicle.note_trigger_change() CASCADE"  # and the table's triggers
    )
    op.drop_table("schedules")
    op.drop_table("trigger_changes")
    op.drop_table("flow_triggers")
