"""keep data links.

Revision: 0007
Follows: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep which records of a product and of a connected app belong together."""
    now = sa.text("now()")
    op.create_table(
        "data_links",
        *(
            sa.Column(name, sa.Uuid(), nullable=False)
            for name in ("id", "workspace_id", "tenant_id", "connection_id", "table_id")
        ),
        sa.Column("app_record_id", sa.String(), nullable=False),
        sa.Column("external_record_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=False)
            for name in ("created_at", "updated_at")
        ),
        sa.CheckConstraint(
            "direction IN ('import', 'export', 'both')", name=op.f("ck_data_links_direction")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "tenant_id"],
            ["tenants.workspace_id", "tenants.id"],
            name=op.f("fk_data_links_workspace_id_tenant_id_tenants"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_data_links_tenant_id_connection_id_connections"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_links")),
    )
    op.create_index(
        "uq_data_links_pair",
        "data_links",
        ["connection_id", "table_id", "app_record_id", "external_record_id", "direction"],
        unique=True,
    )
    op.create_index(
        "ix_data_links_external",
        "data_links",
        ["connection_id", "table_id", "external_record_id"],
    )


def downgrade() -> None:
    """Forget data links."""
    op.drop_table("data_links")
