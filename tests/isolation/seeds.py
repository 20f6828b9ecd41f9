"""One row in every table for each owner, made from the tables' own description."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import psycopg
import uuid_utils.compat
from psycopg import sql
from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Table
from sqlmodel import SQLModel

from models.policies import ACCESS

__all__ = [
    "TABLES",
    "Seed",
    "Seeded",
    "Values",
    "belongs",
    "foreign_keys",
    "insert",
    "seed",
    "unseed",
    "values_for",
    "wire",
]

#: Every table, those first that others point at.
TABLES: dict[str, Table] = {table.name: table for table in SQLModel.metadata.sorted_tables}
assert TABLES.keys() == ACCESS.keys()

Values = dict[str, Any]

#: Optional columns that are filled all the same: they carry what tenants would hate to lose.
_CARGO = {"name", "input", "output", "meta", "spec", "fields", "request", "error"}
#: What the checks of a table ask for beyond a list of words, and what keeps a seed at rest.
_FITTING: dict[tuple[str, str], Any] = {("runs", "status"): "completed"}


@dataclass(frozen=True)
class Seed:
    """Somebody who owns rows: a tenant, or a workspace where `tenant` is None."""

    name: str
    workspace: uuid.UUID
    tenant: uuid.UUID | None = None

    @property
    def canary(self) -> str:
        """Return a text that appears in this owner's rows only."""
        return f"canary-{self.name}-{(self.tenant or self.workspace).hex}"


@dataclass
class Seeded:
    """The rows that were written: owner's name -> table -> values."""

    rows: dict[str, dict[str, Values]] = field(default_factory=dict)

    def key(self, owner: str, table: str) -> Values:
        """Return the primary key of an owner's row."""
        row = self.rows[owner][table]
        return {column.name: row[column.name] for column in TABLES[table].primary_key}

    def tables(self, owner: str) -> list[str]:
        """Return the tables in which an owner has a row."""
        return list(self.rows[owner])


def seed(connection: psycopg.Connection[Any], owners: list[Seed]) -> Seeded:
    """Write the rows of all owners, as the tables' owner."""
    seeded = Seeded()
    for owner in owners:
        mine: dict[str, Values] = {}
        seeded.rows[owner.name] = mine
        # A tenant's row may point at what its workspace shares.
        shared = next(
            (
                seeded.rows[other.name]
                for other in owners
                if other.workspace == owner.workspace and other.tenant is None
            ),
            {},
        )
        for name, table in TABLES.items():
            if not belongs(table, owner):
                continue
            mine[name] = values_for(table, owner, {**shared, **mine})
            insert(connection, name, mine[name])
    return seeded


def unseed(connection: psycopg.Connection[Any], seeded: Seeded) -> None:
    """Take every row away again."""
    for name in reversed(TABLES):
        for owner, tables in seeded.rows.items():
            if name in tables:
                where = sql.SQL(" AND ").join(
                    sql.SQL("{} = %s").format(sql.Identifier(column))
                    for column in seeded.key(owner, name)
                )
                connection.execute(
                    sql.SQL("DELETE FROM {} WHERE ").format(sql.Identifier(name)) + where,
                    list(seeded.key(owner, name).values()),
                )


def insert(connection: psycopg.Connection[Any], table: str, values: Values) -> int:
    """Insert one row; return how many were."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
    )
    return connection.execute(statement, [wire(value) for value in values.values()]).rowcount


def values_for(table: Table, owner: Seed, others: dict[str, Values]) -> Values:
    """Return a row of this owner that satisfies every constraint of the table.

    `others` holds the rows that foreign keys may point at, by table.
    """
    values: Values = {}
    for column in table.columns:
        if column.name == "tenant_id":
            values[column.name] = owner.tenant
        elif column.name == "workspace_id":
            values[column.name] = owner.workspace
        elif column.name == "id" and table.name in {"workspaces", "tenants"}:
            values[column.name] = owner.tenant or owner.workspace
        elif column.name == "layer":
            values[column.name] = "tenant" if owner.tenant else "workspace"
        elif (target := _pointed_at(column)) is not None:
            values[column.name] = others[target.table.name][target.name]
        elif (table.name, column.name) in _FITTING:
            values[column.name] = _FITTING[table.name, column.name]
        elif column.name in _CARGO or not (column.nullable or column.server_default):
            values[column.name] = _value(table, column, owner)
    return values


def belongs(table: Table, owner: Seed) -> bool:
    """Tell whether this owner can have a row here: a workspace's tenants have no workspace row."""
    columns = table.columns
    if table.name == "tenants":
        return owner.tenant is not None
    if "tenant_id" in columns:
        return owner.tenant is not None or bool(columns["tenant_id"].nullable)
    return owner.tenant is None  # workspaces, their secrets, the operator's table


def foreign_keys(table: str) -> dict[str, str]:
    """Return the columns that point at other rows than a workspace or tenant, and their table."""
    return {
        column.name: target.table.name
        for column in TABLES[table].columns
        if column.name not in {"workspace_id", "tenant_id"}
        for target in [_pointed_at(column)]
        if target is not None
    }


def wire(value: Any) -> Any:
    """Return a value as a parameter of a statement."""
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


def _pointed_at(column: Column[Any]) -> Column[Any] | None:
    for constraint in column.table.constraints:
        if isinstance(constraint, ForeignKeyConstraint):
            for element in constraint.elements:
                if element.parent is column:
                    return element.column
    return None


def _value(table: Table, column: Column[Any], owner: Seed) -> Any:
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            words = re.match(rf"{column.name} IN \('([^']+)'", str(constraint.sqltext).strip())
            if words:
                return words[1]
    plain: dict[type, Callable[[], Any]] = {
        uuid.UUID: uuid_utils.compat.uuid7,
        str: lambda: f"{owner.canary}-{column.name}",
        bytes: owner.canary.encode,
        bool: lambda: False,
        int: lambda: 1,
        float: lambda: 1.0,
        Decimal: lambda: Decimal(1),
        object: lambda: {"canary": owner.canary},  # JSON
        datetime: lambda: datetime(2026, 1, 1, tzinfo=UTC),
    }
    kind = getattr(column.type, "impl_instance", column.type)
    return plain[kind.python_type]()
