"""Reads connections, and decides which one serves a run that may or may not name one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import AmbiguousConnectionError, DependencyError, NotFoundError
from runtime.tenancy import Owner

__all__ = ["ConnectionRow", "choose", "connections_of", "named"]


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A live connection, with the integration that it belongs to."""

    id: UUID
    key: str | None
    name: str
    state: str
    integration_id: UUID
    integration_key: str
    #: Key of the integration's connector.
    app: str
    #: Key of the connection that the integration prefers when a run names none.
    preferred_key: str | None
    deactivated_by: str | None

    def label(self) -> dict[str, str | None]:
        """Return how an error lists this connection as a choice."""
        return {
            "id": str(self.id),
            "key": self.key,
            "name": self.name,
            "integrationKey": self.integration_key,
        }


async def connections_of(
    connection: AsyncConnection[DictRow], owner: Owner
) -> Sequence[ConnectionRow]:
    """Return the tenant's connections that are not archived, whose integration is live."""
    cursor = await connection.execute(
        "SELECT c.id, c.key, c.name, c.state, c.integration_id, c.deactivated_by,"
        " e.key AS integration_key, e.spec->>'connectorKey' AS app,"
        " e.spec->>'defaultConnectionKey' AS preferred_key"
        " FROM connections AS c JOIN elements AS e ON e.id = c.integration_id"
        " WHERE c.tenant_id = %s AND c.workspace_id = %s AND c.archived_at IS NULL"
        " AND e.archived_at IS NULL ORDER BY c.id",
        (owner.tenant_id, owner.workspace_id),
    )
    return [ConnectionRow(**row) for row in await cursor.fetchall()]


def named(connections: Iterable[ConnectionRow], selector: str) -> ConnectionRow:
    """Return the connection with this id or key; NotFoundError says what there is."""
    everything = list(connections)
    for connection in everything:
        if selector in (str(connection.id), connection.key):
            return _usable(connection)
    raise NotFoundError(
        f"There is no connection {selector[:100]!r}.",
        data={"choices": [connection.label() for connection in everything[:20]]},
    )


def choose(candidates: Sequence[ConnectionRow], wanted: str) -> ConnectionRow:
    """Return the one connection that can serve; raise an error that lists them if several can.

    `wanted` says in the message what the connection is needed for.
    """
    live = [connection for connection in candidates if connection.deactivated_by is None]
    if not live and candidates:
        return _usable(candidates[0])
    if not live:
        raise DependencyError(
            f"{wanted} needs a connection, and this tenant has none that fits. Connect the app"
            " first (POST /connections).",
            data={"missing": "connection"},
        )
    if len(live) == 1:
        return _usable(live[0])
    preferred = [connection for connection in live if _is_preferred(connection)]
    if len(preferred) == 1:
        return preferred[0]
    raise AmbiguousConnectionError(
        f"{wanted} could use {len(live)} connections; name one with connectionId, connectionKey or"
        " integrationKey.",
        data={"choices": [connection.label() for connection in live[:20]]},
    )


def _is_preferred(connection: ConnectionRow) -> bool:
    return connection.preferred_key is not None and connection.key == connection.preferred_key


def _usable(connection: ConnectionRow) -> ConnectionRow:
    if connection.deactivated_by is not None:
        raise DependencyError(
            f"The connection {connection.name!r} is deactivated, because its"
            f" {connection.deactivated_by} was archived.",
            data={"connection": connection.label()},
        )
    return connection
