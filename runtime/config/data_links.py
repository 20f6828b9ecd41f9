"""Data links: notes, finds and removes which record of the product's is which of an app's."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.config.store import ElementRow
from runtime.db import Query
from runtime.tenancy import Owner

__all__ = [
    "LinkBody",
    "LinkTable",
    "delete_link",
    "linked_query",
    "list_links",
    "public_link",
    "upsert_link",
]

#: Two of them, of four bytes a character at most, fit an entry of the index (2,704 bytes).
RecordId = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]


class LinkBody(BaseModel):
    """Which records belong together, and for which way of data."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    app_record_id: RecordId
    external_record_id: RecordId
    direction: Literal["import", "export", "both"] = "both"


@dataclass(frozen=True, slots=True)
class LinkTable:
    """A data link table for one connection: the contract's instance."""

    owner: Owner
    connection_id: UUID
    #: The element that links stand in: the table, or its instance if that is one of several.
    table_id: UUID
    #: The instance's row; None before its first use.
    instance_id: UUID | None = None

    @classmethod
    def at(cls, owner: Owner, connection_id: UUID, layers: Sequence[ElementRow]) -> LinkTable:
        """Return what the layers of a table amount to at a connection."""
        table, nearest = next(row for row in layers if not row.is_patch), layers[-1]
        instance_id = nearest.id if nearest.connection_id is not None else None
        table_id = table.id if nearest.instance_key is None else nearest.id
        return cls(owner, connection_id, table_id, instance_id)

    @property
    def id(self) -> UUID:
        """Return the instance's id; before its first use, one that follows from what it is of."""
        return self.instance_id or uuid.uuid5(self.connection_id, str(self.table_id))

    def values(self) -> dict[str, Any]:
        """Return what its statements' placeholders stand for."""
        return {
            "workspace": self.owner.workspace_id,
            "tenant": self.owner.tenant_id,
            "connection": self.connection_id,
            "table": self.table_id,
        }


_HERE = "tenant_id = %(tenant)s AND connection_id = %(connection)s AND table_id = %(table)s"
_UPSERT = (
    "INSERT INTO data_links (id, workspace_id, tenant_id, connection_id, table_id, app_record_id,"
    " external_record_id, direction) VALUES (%(id)s, %(workspace)s, %(tenant)s, %(connection)s,"
    " %(table)s, %(app_record_id)s, %(external_record_id)s, %(direction)s)"
    " ON CONFLICT (connection_id, table_id, app_record_id, external_record_id, direction)"
    " DO UPDATE SET updated_at = now() RETURNING *"
)
_DELETE = (
    f"DELETE FROM data_links WHERE {_HERE} AND app_record_id = %(app_record_id)s"  # noqa: S608 - ours
    " AND external_record_id = %(external_record_id)s AND direction = %(direction)s RETURNING *"
)
_LIST = (
    f"SELECT * FROM data_links WHERE {_HERE}"  # noqa: S608 - our own condition
    " AND (%(app_record_id)s::text IS NULL OR app_record_id = %(app_record_id)s)"
    " AND (%(external_record_id)s::text IS NULL OR external_record_id = %(external_record_id)s)"
    " AND (%(direction)s::text IS NULL OR direction IN (%(direction)s, 'both'))"
    " AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s"
)

#: Of many records at once, each of its own table: the record that it is linked to.
_LINKED = (
    "SELECT asked.table_key, asked.record_id, tables.id IS NOT NULL AS has_table, found.id AS found"
    " FROM unnest(%(tables)s::text[], %(records)s::text[]) AS asked (table_key, record_id)"
    " LEFT JOIN elements AS tables ON tables.kind = 'data-link-table'"
    " AND tables.workspace_id = %(workspace)s AND tables.tenant_id IS NULL"
    " AND tables.layer = 'workspace' AND tables.archived_at IS NULL"
    " AND tables.key = asked.table_key"
    " LEFT JOIN LATERAL (SELECT links.{there} AS id FROM data_links AS links"
    " WHERE links.connection_id = %(connection)s AND links.table_id = tables.id"
    " AND links.{here} = asked.record_id AND links.tenant_id = %(tenant)s"
    " AND links.direction IN ('{way}', 'both') ORDER BY links.id LIMIT 1) AS found ON true"
)
_LINKED_BY_WAY = {
    "export": _LINKED.format(here="app_record_id", there="external_record_id", way="export"),
    "import": _LINKED.format(here="external_record_id", there="app_record_id", way="import"),
}


def linked_query(
    owner: Owner, connection_id: UUID, way: str, asked: Sequence[tuple[str, str]]
) -> Query:
    """Return what finds the records that others are linked to: `{table_key, record_id, …}` a row.

    `way` is `export`, from the product's records to the app's, or `import`; `asked` are pairs of a
    table's key and a record's id. A row says `has_table`, and `found` or null; of several links the
    first counts.
    """
    values = {
        "workspace": owner.workspace_id,
        "tenant": owner.tenant_id,
        "connection": connection_id,
        "tables": [key for key, _ in asked],
        "records": [record for _, record in asked],
    }
    return Query(_LINKED_BY_WAY[way], values)


async def upsert_link(
    connection: AsyncConnection[DictRow], table: LinkTable, link: LinkBody
) -> DictRow:
    """Note that two records belong together; noted again, it stays one link."""
    values = {**table.values(), **link.model_dump(), "id": uuid_utils.compat.uuid7()}
    (row,) = await (await connection.execute(_UPSERT, values)).fetchall()
    return row


async def delete_link(
    connection: AsyncConnection[DictRow], table: LinkTable, link: LinkBody
) -> DictRow | None:
    """Remove a link and return it as it was; None if there was none."""
    cursor = await connection.execute(_DELETE, {**table.values(), **link.model_dump()})
    return await cursor.fetchone()


async def list_links(
    connection: AsyncConnection[DictRow],
    table: LinkTable,
    *,
    app_record_id: str | None = None,
    external_record_id: str | None = None,
    direction: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> Sequence[DictRow]:
    """Return links by id; those of both directions are of either."""
    values = {
        **table.values(),
        "app_record_id": app_record_id,
        "external_record_id": external_record_id,
        "direction": direction,
        "after": after,
        "limit": limit,
    }
    return await (await connection.execute(_LIST, values)).fetchall()


def public_link(table: LinkTable, row: DictRow) -> dict[str, Any]:
    """Return a link as the API shows it."""
    return {
        "id": str(row["id"]),
        "dataLinkTableInstanceId": str(table.id),
        "appRecordId": row["app_record_id"],
        "externalRecordId": row["external_record_id"],
        "direction": row["direction"],
        "createdAt": row["created_at"].isoformat(),
        "updatedAt": row["updated_at"].isoformat(),
    }
