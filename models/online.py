"""What a migration needs to index a large table while the system works on it."""

from __future__ import annotations

from collections.abc import Sequence

from alembic.operations import Operations
from sqlalchemy import text

__all__ = ["build_index"]

_PARTITIONS = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = cast(:table AS regclass) ORDER BY 1
"""
_INVALID = """
SELECT true FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid
"""


def build_index(
    op: Operations, name: str, table: str, columns: Sequence[str], *, where: str | None = None
) -> None:
    """Build an index beside the work that goes on: nobody who reads or writes waits for it.

    Of a partitioned table each partition's is built by itself, and then they are joined; partitions
    that are made later have it too. May be repeated after it was interrupted. It ends the
    migration's transaction, so it stands first or alone in one.
    """
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        partitions = [row[0] for row in bind.execute(text(_PARTITIONS), {"table": table})]
        content = f"({', '.join(columns)})" + (f" WHERE {where}" if where else "")
        if not partitions:
            _build(op, name, table, content)
        else:
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY {table} {content}")
            for partition in partitions:
                part = f"{partition}_{name}"[-63:]
                _build(op, part, partition, content)
                op.execute(f"ALTER INDEX {name} ATTACH PARTITION {part}")


def _build(op: Operations, name: str, table: str, content: str) -> None:
    bind = op.get_bind()
    patience = bind.exec_driver_sql("SHOW lock_timeout").scalar_one()
    # It waits for the longest transaction, and nobody waits behind it meanwhile.
    bind.exec_driver_sql("SET lock_timeout = 0")
    if bind.execute(text(_INVALID), {"name": name}).scalar():  # from a build that broke off
        op.execute(f"DROP INDEX CONCURRENTLY {name}")
    op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {content}")
    bind.exec_driver_sql(f"SET lock_timeout = '{patience}'")
