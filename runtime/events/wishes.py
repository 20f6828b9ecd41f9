"""What a trigger wants to hear of a connection, and whether the connector can tell it.

Triggers that want the same get the same hash, and so share one subscription.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.actions.collections import collection_of
from runtime.actions.connected import Connected
from runtime.actions.data_records_run import collection_key
from runtime.actions.operations import evaluated
from runtime.actions.schema import check_input
from runtime.config.data_actions import DataSourceConfig
from runtime.config.resolve import Place, resolve
from runtime.config.store import layers_of
from runtime.errors import ConfigurationError, DependencyError
from runtime.settings import Settings
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["TYPES", "Wish", "wish_of"]

#: Type of trigger -> type of subscription.
TYPES = {
    "connector-event-trigger": "connector-event",
    "data-record-created-trigger": "data-record-created",
    "data-record-updated-trigger": "data-record-updated",
    "data-record-deleted-trigger": "data-record-deleted",
}
#: A data source's own figures, where it says nothing: the contract's.
_PULL, _FULL = 300, 10_800


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscription as it should be."""

    config: Mapping[str, Any]
    is_real_time: bool = False
    #: Seconds between two looks for what is new, or at everything; None for neither.
    pull_interval: int | None = None
    full_sync_interval: int | None = None
    refresh_interval: int | None = None

    @property
    def hash(self) -> str:
        """Return what tells different wishes over one connection apart."""
        text = orjson.dumps(self.config, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()[:32]


async def wish_of(
    connection: AsyncConnection[DictRow],
    connected: Connected,
    kind: str,
    config: Mapping[str, Any],
    variables: Mapping[str, Any],
    settings: Settings,
) -> Wish:
    """Return what a trigger of this type and configuration wants.

    Raises what is wrong with it: ConfigurationError, DependencyError, InputInvalidError,
    NotFoundError.
    """
    if kind == "connector-event-trigger":
        return _event(connected, config, variables)
    return await _records(connection, connected, TYPES[kind], config, variables, settings)


def _event(connected: Connected, config: Mapping[str, Any], variables: Mapping[str, Any]) -> Wish:
    key = config.get("eventKey")
    event = connected.definition.events.get(key) if isinstance(key, str) else None
    if event is None:
        known = ", ".join(sorted(connected.definition.events)[:20]) or "none"
        raise ConfigurationError(
            f"The connector {connected.definition.key!r} has no event {str(key)[:100]!r}; it has:"
            f" {known}.",
            data={"path": "/config/eventKey"},
        )
    parameters = evaluated(config.get("eventParameters"), variables, "/config/eventParameters")
    if event.parameters_schema is not None:
        parameters = check_input(event.parameters_schema, parameters or {})
    wanted: dict[str, Any] = {"type": "connector-event", "eventKey": key}
    if parameters:
        wanted["eventParameters"] = parameters
    return Wish(wanted, is_real_time=True, refresh_interval=event.refresh_interval)


async def _records(
    connection: AsyncConnection[DictRow],
    connected: Connected,
    kind: str,
    config: Mapping[str, Any],
    variables: Mapping[str, Any],
    settings: Settings,
) -> Wish:
    given = config.get("dataSource")
    given = {"key": given} if isinstance(given, str) else given
    source = parse(DataSourceConfig, given, ConfigurationError, "/config/dataSource")
    spec = await _source(connection, connected, source.key) if source.key else {}
    whole = source.model_copy(
        update={
            "collection_key": source.collection_key or spec.get("collectionKey"),
            "udm": source.udm or spec.get("udm"),
        }
    )
    key = collection_key(whole, connected.definition)
    collection = collection_of(connected.definition, key)
    parameters = source.collection_parameters
    if parameters is None:
        parameters = spec.get("collectionParameters")
    parameters = evaluated(parameters, variables, "/config/dataSource/collectionParameters")
    wanted: dict[str, Any] = {"collectionKey": key}
    if source.key:
        wanted["key"] = source.key
    if parameters:
        wanted["collectionParameters"] = parameters
    if collection.list_records is None:
        raise ConfigurationError(
            f"The collection {key!r} cannot be watched: the connector does not list its records.",
            data={"path": "/config/dataSource"},
        )
    by_pull = collection.changed_since is not None and kind != "data-record-deleted"
    pull = max(settings.pull_interval, spec.get("pullUpdatesIntervalSeconds", _PULL))
    full = max(settings.full_sync_interval, spec.get("fullSyncIntervalSeconds", _FULL))
    return Wish(
        {"type": kind, "dataSource": wanted},
        pull_interval=pull if by_pull else None,
        full_sync_interval=None if by_pull else full,
    )


async def _source(
    connection: AsyncConnection[DictRow], connected: Connected, key: str
) -> Mapping[str, Any]:
    owner: Owner = connected.owner
    rows = await layers_of(
        connection, kind="data-source", key=key, owner=(owner.workspace_id, owner.tenant_id)
    )
    place: UUID = connected.integration_id
    found = resolve(rows, Place(place, connected.definition.key, connected.id))
    if found is None:
        raise DependencyError(
            f"There is no data source {key[:100]!r}.", data={"missing": "data-source", "key": key}
        )
    return found.spec
