"""measure node runs, cap flows.

Revision: 0012
Follows: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_BEFORE = "scope IN ('workspace', 'tenant', 'connection', 'element')"
_NOW = "scope IN ('workspace', 'tenant', 'connection', 'element', 'flows')"


def upgrade() -> None:
    """Note the sizes of outputs and whose output an input is; let flows be capped."""
    op.add_column("node_runs", sa.Column("output_number", sa.Integer(), nullable=True))
    op.add_column("node_runs", sa.Column("output_sizes", postgresql.JSONB(), nullable=True))
    op.execute(
        "UPDATE node_runs SET output_sizes = (SELECT jsonb_agg(octet_length(o.value::text))"
        " FROM jsonb_array_elements(outputs) AS o) WHERE jsonb_array_length(outputs) > 0"
    )
    op.drop_constraint(op.f("ck_caps_scope"), "caps")
    op.create_check_constraint(op.f("ck_caps_scope"), "caps", _NOW)


def downgrade() -> None:
    """Forget the sizes, and caps on flows."""
    op.execute("DELETE FROM caps WHERE scope = 'flows'")
    op.drop_constraint(op.f("ck_caps_scope"), "caps")
    op.create_check_constraint(op.f("ck_caps_scope"), "caps", _BEFORE)
    op.execute(
        "UPDATE node_runs AS n SET input = p.outputs->n.output_number FROM node_runs AS p"
        " WHERE n.input IS NULL AND p.run_id = n.run_id AND p.id = n.parent_id"
    )
    op.drop_column("node_runs", "output_sizes")
    op.drop_column("node_runs", "output_number")
