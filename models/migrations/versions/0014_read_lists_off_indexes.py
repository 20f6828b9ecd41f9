"""read lists off indexes.

Revision: 0014
Follows: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

_SEARCHED = (
    "lower(left(key || ' ' || coalesce(spec ->> 'name', '') || ' '"
    " || coalesce(spec ->> 'description', ''), 400))"
)


def upgrade() -> None:
    """Keep what a search looks through, and index what lists are narrowed to."""
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
