"""read lists off indexes, and keep versions of elements.

Revision: 0014
Follows: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SEARCHED = (
    "lower(left(key || ' ' || coalesce(spec ->> 'name', '') || ' '"
    " || coalesce(spec ->> 'description', ''), 400))"
)


def upgrade() -> None:
    """Keep what a search looks through, index what lists are narrowed to, and keep versions."""
    op.create_table(
        "element_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("kind", "key", "version")),
        sa.Column("spec", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("source_revision", sa.String(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('connector', 'package')", name=op.f("ck_element_versions_kind")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_element_versions_workspace_id_workspaces"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_element_versions")),
        sa.UniqueConstraint(
            *("workspace_id", "kind", "key", "version"),
            name=op.f("uq_element_versions_workspace_id_kind_key_version"),
        ),
    )
    op.add_column(
        "elements",
        sa.Column("search_text", sa.Text(collation="C"), sa.Computed(_SEARCHED, persisted=True)),
    )
    op.drop_index("ix_elements_workspace_id_kind_tenant_id_id", "elements")
    op.create_index(
        "ix_elements_list",
        "elements",
        ["workspace_id", "kind", "tenant_id", "id"],
        postgresql_include=[
            *("search_text", "parent_id", "archived_at", "layer"),
            *("app", "integration_id", "connection_id"),
        ],
    )
    op.create_index(
        "ix_elements_integration",
        "elements",
        ["workspace_id", "kind", "tenant_id", "integration_id", "id"],
        postgresql_where="integration_id IS NOT NULL",
    )
    op.create_index(
        "ix_elements_app",
        "elements",
        ["workspace_id", "kind", "tenant_id", "app", "id"],
        postgresql_where="app IS NOT NULL",
    )
    op.create_index(
        "ix_elements_connection",
        "elements",
        ["connection_id", "kind", "id"],
        postgresql_where="connection_id IS NOT NULL",
    )
    op.create_index(
        "ix_elements_parent",
        "elements",
        ["parent_id", "id"],
        postgresql_where="parent_id IS NOT NULL",
    )


def downgrade() -> None:
    """Search the rows themselves again."""
    for name in ("parent", "connection", "app", "integration", "list"):
        op.drop_index(f"ix_elements_{name}", "elements")
    op.create_index(
        "ix_elements_workspace_id_kind_tenant_id_id",
        "elements",
        ["workspace_id", "kind", "tenant_id", "id"],
    )
    op.drop_column("elements", "search_text")
    op.drop_table("element_versions")
