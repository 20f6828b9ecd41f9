"""keep node runs.

Revision: 0006
Follows: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep what each node of a flow run came to."""
    op.create_table(
        "node_runs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("node_key", sa.String(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("item", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        *(
            sa.Column(name, postgresql.JSONB(), nullable=True)
            for name in ("input", "outputs", "error", "logs", "usage")
        ),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting", postgresql.JSONB(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signal", postgresql.JSONB(), nullable=True),
        sa.Column("child_id", sa.Uuid(), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'waiting', 'completed', 'failed', 'skipped')",
            name=op.f("ck_node_runs_status"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_node_runs_workspace_id_tenant_id_tenants"),
        ),
        sa.PrimaryKeyConstraint("run_id", "id", name=op.f("pk_node_runs")),
    )
    op.create_index(
        op.f("ix_node_runs_run_id_node_key_started_at"),
        "node_runs",
        ["run_id", "node_key", "started_at"],
    )


def downgrade() -> None:
    """Forget node runs."""
    op.drop_table("node_runs")
