"""Who has an element as the workspace gives it, who has adapted it, and over which integrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.rows import as_layer
from runtime.config.store import ElementRow

__all__ = ["Adapter", "Following", "Subject", "adapters_of", "count_adapters", "following"]

#: That tenant `t` has a row of the element of its own; read off the index of places.
_ADAPTS = (
    "EXISTS (SELECT FROM elements AS e WHERE e.workspace_id = :workspace AND e.kind = :kind"
    " AND e.key = :key AND e.tenant_id = t.id AND e.archived_at IS NULL"
    # An instance that was only begun adapts nothing.
    " AND (e.parent_id IS NULL OR e.spec::text <> '{}'))"
)
_TENANTS = "FROM tenants AS t WHERE t.workspace_id = :workspace AND t.archived_at IS NULL"
_LINKS = (
    "FROM connections AS c JOIN tenants AS t ON t.id = c.tenant_id"
    " JOIN elements AS i ON i.id = c.integration_id"
    " WHERE c.workspace_id = :workspace AND c.archived_at IS NULL AND t.archived_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """An element of a workspace, whatever its layers."""

    workspace_id: UUID
    kind: str
    key: str

    @property
    def values(self) -> dict[str, Any]:
        """Return it as the statements here name it."""
        return {"workspace": self.workspace_id, "kind": self.kind, "key": self.key}


@dataclass(frozen=True, slots=True)
class Link:
    """Connections over one integration."""

    integration_id: UUID
    integration_key: str
    #: Key of the integration's connector.
    app: str | None
    connections: int
    tenants: int = 1


@dataclass(frozen=True, slots=True)
class Following:
    """Tenants that have no row of their own."""

    tenants: int
    links: Sequence[Link]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A tenant that has rows of its own."""

    id: UUID
    key: str
    rows: Sequence[ElementRow]
    #: Its connections, but for those that have a row of their own.
    links: Sequence[Link]
    #: Those that have: connection -> its integration.
    own: Mapping[UUID, Link]


async def count_adapters(session: AsyncSession, subject: Subject) -> int:
    """Return how many tenants have rows of their own."""
    rows = await _ask(session, f"SELECT count(*) AS n {_TENANTS} AND {_ADAPTS}", subject)
    return int(rows[0]["n"])


async def following(session: AsyncSession, subject: Subject) -> Following:
    """Return who has the element as the workspace gives it, counted by the database."""
    tenants = await _ask(session, f"SELECT count(*) AS n {_TENANTS} AND NOT {_ADAPTS}", subject)
    links = await _ask(
        session,
        "SELECT i.id AS integration_id, i.key AS integration_key,"
        " i.spec ->> 'connectorKey' AS app, count(*) AS connections,"
        f" count(DISTINCT t.id) AS tenants {_LINKS} AND NOT {_ADAPTS}"
        " GROUP BY i.id, i.key, i.spec ->> 'connectorKey' ORDER BY i.key",
        subject,
    )
    return Following(tenants[0]["n"], [Link(**row) for row in links])


async def adapters_of(
    session: AsyncSession, subject: Subject, *, after: UUID | None, limit: int
) -> tuple[Sequence[Adapter], UUID | None]:
    """Return a page of the tenants with rows of their own, and after which the next one begins."""
    tenants = await _ask(
        session,
        f"SELECT t.id, t.key {_TENANTS} AND {_ADAPTS}"
        " AND (CAST(:after AS uuid) IS NULL OR t.id > :after) ORDER BY t.id LIMIT :limit",
        subject,
        after=after,
        limit=limit + 1,
    )
    page = tenants[:limit]
    found = await _adapters(session, subject, page) if page else []
    return found, page[-1]["id"] if len(tenants) > limit else None


async def _adapters(
    session: AsyncSession, subject: Subject, tenants: Sequence[Mapping[str, Any]]
) -> Sequence[Adapter]:
    ids = [tenant["id"] for tenant in tenants]
    rows: dict[UUID, list[ElementRow]] = {each: [] for each in ids}
    found = await session.exec(
        select(Element).where(
            col(Element.workspace_id) == subject.workspace_id,
            col(Element.kind) == subject.kind,
            col(Element.key) == subject.key,
            col(Element.tenant_id).in_(ids),
            col(Element.archived_at).is_(None),
        )
    )
    for row in found.all():
        if row.tenant_id is not None:
            rows[row.tenant_id].append(as_layer(row))
    customised = [row.connection_id for layers in rows.values() for row in layers]
    named = [each for each in customised if each is not None]
    links: dict[UUID, list[Link]] = {each: [] for each in ids}
    own: dict[UUID, dict[UUID, Link]] = {each: {} for each in ids}
    for link in await _links(session, subject, ids, named):
        tenant_id, connection_id = link.pop("tenant_id"), link.pop("connection_id")
        if connection_id is None:
            links[tenant_id].append(Link(**link))
        else:
            own[tenant_id][connection_id] = Link(**link)
    return [
        Adapter(each["id"], each["key"], rows[each["id"]], links[each["id"]], own[each["id"]])
        for each in tenants
    ]


async def _links(
    session: AsyncSession, subject: Subject, tenants: list[UUID], named: list[UUID]
) -> Sequence[dict[str, Any]]:
    """Return these tenants' connections: the named ones singly, the others counted."""
    single = "CASE WHEN c.id = ANY(CAST(:named AS uuid[])) THEN c.id END"
    return await _ask(
        session,
        f"SELECT t.id AS tenant_id, {single} AS connection_id, i.id AS integration_id,"
        " i.key AS integration_key, i.spec ->> 'connectorKey' AS app, count(*) AS connections"
        f" {_LINKS} AND t.id = ANY(CAST(:tenants AS uuid[]))"
        " GROUP BY 1, 2, i.id, i.key, i.spec ->> 'connectorKey' ORDER BY i.key",
        subject,
        tenants=tenants,
        named=named,
    )


async def _ask(
    session: AsyncSession, statement: str, subject: Subject, **more: Any
) -> Sequence[dict[str, Any]]:
    database = await session.connection()
    answer = await database.execute(text(statement), {**subject.values, **more})
    return [dict(row) for row in answer.mappings()]
