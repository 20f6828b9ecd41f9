"""How Alembic reaches the database: the owner's connection, handed over by `vesicle migrate`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import models  # noqa: F401 - registers every table


def _include(_object: object, name: str | None, kind: str, _reflected: bool, _to: object) -> bool:
    # Partitions are made by the database itself (models/database.sql).
    return not (kind == "table" and name is not None and name not in SQLModel.metadata.tables)


def run() -> None:
    """Migrate over the given connection, or over `sqlalchemy.url` when called by hand."""
    given = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").connect() as own:
        _migrate(own)


def _migrate(connection: object) -> None:
    context.configure(
        connection=connection,  # type: ignore[arg-type] # given by our own caller
        target_metadata=SQLModel.metadata,
        include_object=_include,
        # Each by itself: what one has locked is free again before the next begins, and one that
        # builds an index beside the work that goes on (`autocommit_block`) can.
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
