"""keep logs of code.

Revision: 0003
Follows: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what the code of a run logged."""
    op.add_column("runs", sa.Column("logs", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    """Take the logs away."""
    op.drop_column("runs", "logs")
