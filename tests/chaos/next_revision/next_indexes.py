"""index what a next release may index.

Revision: next
Follows: next_columns
"""

from __future__ import annotations

from alembic import op

from models.online import build_index

revision = "next"
down_revision = "next_columns"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index a partitioned table and a plain one beside the work on them."""
    build_index(op, "ix_next_runs", "runs", ["element_id", "id"], where="next_note IS NULL")
    build_index(op, "ix_next_elements", "elements", ["key"])


def downgrade() -> None:
    """Be the last."""
