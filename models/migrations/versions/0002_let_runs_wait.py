"""let runs wait.

Revision: 0002
Follows: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("takeovers", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("parks", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting", postgresql.JSONB(), nullable=True),
        sa.Column("dead_reason", sa.String(), nullable=True),
        sa.Column("redriven_as", sa.Uuid(), nullable=True),
        sa.Column("redrive_of", sa.Uuid(), nullable=True),
    ]


_INDEXES = (
    ("ix_runs_running", ("id",), "status = 'running'"),
    ("ix_runs_sent", ("sent_at",), "status = 'queued' AND sent_at IS NOT NULL"),
    (
        "ix_runs_unsent",
        ("tenant_id", "queue", sa.text("priority DESC"), "id"),
        "status = 'queued' AND sent_at IS NULL AND due_at IS NULL",
    ),
    (
        "ix_runs_due",
        ("due_at",),
        "status = 'queued' AND sent_at IS NULL AND due_at IS NOT NULL",
    ),
    ("ix_runs_dead", ("workspace_id", "id"), "dead_reason IS NOT NULL"),
)


def upgrade() -> None:
    """Add what retries, parked runs, the deep backlog, dead letters and caps need."""
    for column in _columns():
        op.add_column("runs", column)
    op.alter_column("runs", "sent_at", nullable=True)
    for name, columns, where in _INDEXES:
        op.create_index(name, "runs", list(columns), postgresql_where=sa.text(where))
    op.drop_index("ix_runs_open", table_name="runs")
    op.create_table(
        "caps",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(), server_default="running", nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("amount", sa.Integer(), nullable=True),
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
            "scope IN ('workspace', 'tenant', 'connection', 'element')", name=op.f("ck_caps_scope")
        ),
        sa.CheckConstraint("state IN ('running', 'queued')", name=op.f("ck_caps_state")),
        sa.CheckConstraint(
            "state = 'running' OR scope = 'tenant'", name=op.f("ck_caps_queued_scope")
        ),
        sa.CheckConstraint("amount IS NULL OR amount >= 0", name=op.f("ck_caps_amount")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_caps_workspace_id_workspaces")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_caps_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_caps")),
    )
    op.create_index(
        "uq_caps_place",
        "caps",
        ["workspace_id", "state", "scope", "tenant_id", "subject_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    """Take it all away; runs that wait in the table only are sent again by the older version."""
    op.drop_table("caps")
    op.create_index(
        "ix_runs_open",
        "runs",
        ["id"],
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    for name, _, _ in _INDEXES:
        op.drop_index(name, table_name="runs")
    op.execute("UPDATE runs SET sent_at = now() WHERE sent_at IS NULL")
    op.alter_column("runs", "sent_at", nullable=False)
    for column in _columns():
        op.drop_column("runs", column.name)
