"""add what a next release may add.

Revision: next_columns
Follows: the newest one, whichever it is
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

import models

_FILES = (Path(models.__file__).parent / "migrations" / "versions").glob("[0-9]*.py")

revision = "next_columns"
down_revision = max(path.name.partition("_")[0] for path in _FILES)
branch_labels = None
depends_on = None

#: Tables that runs go through, of which three are partitioned.
_BUSY = ("runs", "activity_records", "usage_records", "connections", "elements")


def upgrade() -> None:
    """Add a column to each busy table, one with a default and one without, and a table."""
    for table in _BUSY:
        op.add_column(table, sa.Column("next_note", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("next_size", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "next_things",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
    )


def downgrade() -> None:
    """Be the last."""
