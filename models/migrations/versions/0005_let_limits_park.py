"""let limits park.

Revision: 0005
Follows: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a limit have runs wait for room instead of refusing them."""
    op.add_column(
        "limits",
        sa.Column("when_reached", sa.String(), server_default="refuse", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_limits_when_reached"), "limits", "when_reached IN ('refuse', 'park')"
    )


def downgrade() -> None:
    """Have every limit refuse."""
    op.drop_column("limits", "when_reached")
