"""let a connection have several instances of an element.

Revision: 0013
Follows: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_PLACE = (*("workspace_id", "kind", "key", "tenant_id", "integration_id", "connection_id", "app"),)

_TRIGGER_PLACE = ("tenant_id", "flow_id", "node_key", "connection_id")


def upgrade() -> None:
    """Let rows of one element at one connection differ by a key of their own."""
    op.add_column("elements", sa.Column("instance_key", sa.String(), nullable=True))
    op.create_check_constraint(
        op.f("ck_elements_instance"), "elements", "instance_key IS NULL OR tenant_id IS NOT NULL"
    )
    _place([*_PLACE, "instance_key"])
    for table in ("flow_triggers", "schedules"):
        op.add_column(table, sa.Column("instance_key", sa.String(), nullable=True))
    _place_of_triggers([*_TRIGGER_PLACE, "instance_key"])
    op.create_index(
        "ix_elements_instances",
        "elements",
        ["workspace_id", "kind", "id"],
        postgresql_where="tenant_id IS NOT NULL",
    )


def downgrade() -> None:
    """Keep the first instance of each only."""
    op.execute("DELETE FROM flow_triggers WHERE instance_key IS NOT NULL")
    op.execute("DELETE FROM schedules WHERE instance_key IS NOT NULL")
    _place_of_triggers([*_TRIGGER_PLACE])
    for table in ("flow_triggers", "schedules"):
        op.drop_column(table, "instance_key")
    op.drop_index("ix_elements_instances", table_name="elements")
    op.execute("DELETE FROM elements WHERE instance_key IS NOT NULL")
    _place([*_PLACE])
    op.drop_constraint(op.f("ck_elements_instance"), "elements")
    op.drop_column("elements", "instance_key")


def _place(columns: list[str]) -> None:
    op.drop_index("uq_elements_place", table_name="elements")
    op.create_index(
        "uq_elements_place",
        "elements",
        columns,
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where="archived_at IS NULL",
    )


def _place_of_triggers(columns: list[str]) -> None:
    op.drop_index("uq_flow_triggers_place", table_name="flow_triggers")
    op.create_index(
        "uq_flow_triggers_place",
        "flow_triggers",
        columns,
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
