"""Finds what a run request means for one tenant: which action, over which connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.config.data_actions import CONNECTOR_ACTION_TYPES
from runtime.config.kinds import parse_spec
from runtime.config.link_actions import LINK_ACTION_TYPES
from runtime.config.resolve import Place, Resolved, applies, resolve
from runtime.config.specs.flows import NODE_ACTIONS
from runtime.config.store import (
    ElementRow,
    element_by_id,
    integration_by_key,
    layers_of,
    layers_query,
)
from runtime.credentials.connections import ConnectionRow, choose, connections_of, named
from runtime.errors import BadRequestError, NotFoundError
from runtime.tenancy import Owner

__all__ = ["Selection", "Target", "find_target"]

#: Types of action that run over a connection.
_CONNECTED = frozenset({"api-request-to-external-app"}) | CONNECTOR_ACTION_TYPES | LINK_ACTION_TYPES


@dataclass(frozen=True, slots=True)
class Selection:
    """How a caller names an action, and what narrows the choice."""

    #: Id, key or `integrationKey.elementKey`; None for an inline action.
    action: str | None = None
    #: What is run: an action, or a flow that is named in the same way.
    kind: Literal["action", "flow"] = "action"
    #: A specification that came with the request (POST /act with `api`).
    inline: dict[str, Any] | None = None
    integration: str | None = None
    connection: str | None = None
    #: Which of the connection's instances; the first one if it is not said.
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What will run: the effective action and where it runs."""

    #: The parsed specification (runtime.config.kinds.ActionSpec), or a flow's.
    action: Any
    element_id: UUID | None
    element_key: str | None
    revision: str | None
    integration_id: UUID | None
    connection: ConnectionRow | None
    #: Which of the connection's instances, and the id of its row, if it has one of its own.
    instance_key: str | None = None
    instance_id: UUID | None = None


async def find_target(
    database: AsyncConnection[DictRow], owner: Owner, selection: Selection
) -> Target:
    """Resolve a selection for a tenant.

    Raises NotFoundError for what does not exist or belongs to somebody else,
    AmbiguousConnectionError when several connections could serve, DependencyError when none can and
    ConfigurationError when the effective action is not valid.
    """
    if selection.inline is not None:
        connections = await connections_of(database, owner)
        return _inline(selection, connections, await _integration(database, owner, selection))
    selector = _selector(selection)
    scope = (owner.workspace_id, owner.tenant_id)
    # Fetched after the connections, so that in a pipeline both take one round trip.
    keyed = await database.execute(*layers_query(kind=selection.kind, key=selector, owner=scope))
    connections = await connections_of(database, owner)
    named = [ElementRow(**row) for row in await keyed.fetchall()]
    key, rows, selection = await _candidates(database, owner, selection, named)
    integration = await _integration(database, owner, selection)
    connection = _connection(selection, connections, integration, rows, key)
    if connection is not None:
        place = Place(connection.integration_id, connection.app, connection.id, selection.instance)
    elif integration is not None:
        place = Place(integration.id, integration.spec.get("connectorKey"))
    else:
        place = Place()
    found = resolve(rows, place)
    if found is None:
        raise NotFoundError(
            f"There is no {selection.kind} {key!r} for "
            + (f"the connection {connection.name!r}." if connection else "this tenant.")
        )
    return _target(found, connection, place)


def _target(found: Resolved, connection: ConnectionRow | None, place: Place) -> Target:
    nearest = found.layers[-1]
    return Target(
        action=parse_spec(found.kind, found.spec, f"{found.kind} {found.key}"),
        element_id=found.id,
        element_key=found.key,
        revision=found.revision,
        integration_id=place.integration_id,
        connection=connection,
        instance_key=place.instance_key,
        instance_id=nearest.id if nearest.connection_id is not None else None,
    )


def _inline(
    selection: Selection, connections: Sequence[ConnectionRow], integration: ElementRow | None
) -> Target:
    assert selection.inline is not None  # noqa: S101 - the caller has looked
    action = parse_spec("action", selection.inline, "the inline action")
    connection = _connection(selection, connections, integration, (), "an API request")
    return Target(
        action=action,
        element_id=None,
        element_key=None,
        revision=None,
        integration_id=connection.integration_id if connection else None,
        connection=connection,
    )


def _selector(selection: Selection) -> str:
    selector = selection.action or ""
    if not 0 < len(selector) <= 400:  # noqa: PLR2004 - an integration's key, a dot and a key
        raise BadRequestError("Name an action by its id or key.", data={"path": "/key"})
    return selector


async def _candidates(
    database: AsyncConnection[DictRow],
    owner: Owner,
    selection: Selection,
    keyed: Sequence[ElementRow],
) -> tuple[str, Sequence[ElementRow], Selection]:
    """Return the key, the layers that carry it, and the selection narrowed by the selector.

    `keyed` are the layers whose key is what the selector says, were it an id or a dotted name.
    """
    selector = _selector(selection)
    scope = (owner.workspace_id, owner.tenant_id)
    if _is_id(selector):
        row = await element_by_id(database, UUID(selector))
        if row is not None and row.kind == selection.kind:
            rows = await layers_of(database, kind=selection.kind, key=row.key, owner=scope)
            return row.key, rows, _narrowed(selection, row)
    if keyed:
        return selector, keyed, selection
    prefix, dot, key = selector.partition(".")
    if dot and selection.integration in (None, prefix):
        rows = await layers_of(database, kind=selection.kind, key=key, owner=scope)
        if rows:
            narrowed = replace(selection, action=key, integration=prefix)
            return key, rows, narrowed
    raise NotFoundError(f"There is no {selection.kind} {selector[:100]!r}.")


def _is_id(selector: str) -> bool:
    try:
        UUID(selector)
    except ValueError:
        return False
    return True


def _narrowed(selection: Selection, row: ElementRow) -> Selection:
    # An id names one row; where that row stands narrows where it runs.
    return replace(
        selection,
        action=row.key,
        integration=selection.integration
        or (str(row.integration_id) if row.integration_id else None),
        connection=selection.connection or (str(row.connection_id) if row.connection_id else None),
        instance=selection.instance or row.instance_key,
    )


async def _integration(
    database: AsyncConnection[DictRow], owner: Owner, selection: Selection
) -> ElementRow | None:
    if selection.integration is None:
        return None
    row = await integration_by_key(database, owner.workspace_id, selection.integration)
    if row is None:
        raise NotFoundError(f"There is no integration {selection.integration[:100]!r}.")
    return row


def _connection(
    selection: Selection,
    connections: Sequence[ConnectionRow],
    integration: ElementRow | None,
    rows: Sequence[ElementRow],
    key: str,
) -> ConnectionRow | None:
    """Choose as the contract says: the named one, the integration's, the only one that fits."""
    if selection.connection is not None:
        connection = named(connections, selection.connection)
        if integration is not None and connection.integration_id != integration.id:
            raise NotFoundError(
                f"The connection {connection.name!r} does not belong to the integration"
                f" {integration.key!r}."
            )
        return connection
    fitting = [
        connection
        for connection in connections
        if (integration is None or connection.integration_id == integration.id)
        and _fits(connection, rows)
    ]
    if integration is None and not _needs_connection(rows, selection):
        return None
    return choose(fitting, f"{selection.kind} {key!r}")


def _fits(connection: ConnectionRow, rows: Sequence[ElementRow]) -> bool:
    place = Place(connection.integration_id, connection.app, connection.id)
    return not rows or any(applies(row, place) for row in rows if not row.is_patch)


def _needs_connection(rows: Sequence[ElementRow], selection: Selection) -> bool:
    # Plain requests and Python functions may run without; what calls an app may not.
    specs = [selection.inline] if selection.inline is not None else [row.spec for row in rows]
    if selection.kind == "flow":
        specs = [node for spec in specs for node in (spec.get("nodes") or {}).values() if node]
    types = {str(spec.get("type")) for spec in specs}
    return any(NODE_ACTIONS.get(each, each) in _CONNECTED for each in types) or any(
        row.app is not None or row.integration_id is not None for row in rows
    )
