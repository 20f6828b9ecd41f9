"""The triggers that listen to an event, and what each makes of it for its flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.actions.operations import evaluated
from runtime.config.resolve import Place, resolve
from runtime.config.store import layers_of
from runtime.errors import VesicleError
from runtime.tenancy import Owner

__all__ = ["Listener", "app_listeners", "external_listeners"]

_COLUMNS = (
    "t.id, t.flow_id, t.flow_key, t.node_key, t.type, t.integration_id, t.connection_id,"
    " t.instance_key, t.config"
)
_APP = (
    f"SELECT {_COLUMNS} FROM flow_triggers AS t WHERE t.tenant_id = %s"  # noqa: S608 - ours
    " AND t.type = 'app-event-trigger' AND t.is_live ORDER BY t.id"
)
_EXTERNAL = (
    f"SELECT {_COLUMNS}, s.subscription_id FROM subscribed_triggers AS s"  # noqa: S608 - ours
    " JOIN flow_triggers AS t ON t.id = s.trigger_id AND t.tenant_id = s.tenant_id"
    " WHERE s.tenant_id = %s AND s.subscription_id = ANY(%s) AND t.is_live ORDER BY t.id"
)
_MAPPING = "fieldMapping"
#: What a filter may ask for that only the flow's run knows.
_UNSEEN = ("$.connection", "$.integration", "$.parameters", "$.flow", "$.trigger", "$.nodes")


@dataclass(frozen=True, slots=True)
class Listener:
    """A live trigger of a flow."""

    id: UUID
    flow_id: UUID
    flow_key: str
    node_key: str
    type: str
    integration_id: UUID | None
    connection_id: UUID | None
    instance_key: str | None
    config: Mapping[str, Any]
    #: What it listens to: the key or id of a type of app event, or a subscription.
    hears: frozenset[str]
    #: How records come in: `{importValue?, unifiedImportValue?, includeRawFields?}`.
    mapping: Mapping[str, Any] | None = None

    def input(self, payload: Any, user: Mapping[str, Any]) -> Any:
        """Return what the flow gets of an event."""
        if self.mapping is None or not isinstance(payload, dict):
            return payload
        record = dict(payload.get("record") or {})
        raw = record.pop("rawFields", record.get("fields"))
        seen = {**record, "record": record, "rawFields": raw, "user": user}
        shown = dict(record)
        for name, member in (("fields", "importValue"), ("unifiedFields", "unifiedImportValue")):
            if (formula := self.mapping.get(member)) is not None and "fields" in record:
                shown[name] = evaluated(formula, seen, f"/config/{_MAPPING}/{member}") or {}
        if self.mapping.get("includeRawFields"):
            shown["rawFields"] = raw
        return {**payload, "record": shown}

    def wants(self, given: Any, user: Mapping[str, Any]) -> bool:
        """Return whether the trigger's filter lets an event pass.

        What cannot be decided passes: the run fails at its trigger, where everybody sees why.
        """
        condition = self.config.get("filter")
        if condition is None or any(name in str(condition) for name in _UNSEEN):
            return True
        try:
            return bool(evaluated(condition, {"input": given, "user": user}, "/config/filter"))
        except VesicleError:
            return True


async def app_listeners(connection: AsyncConnection[DictRow], owner: Owner) -> list[Listener]:
    """Return the tenant's live triggers for app events."""
    rows = await (await connection.execute(_APP, (owner.tenant_id,))).fetchall()
    return [Listener(**row, hears=frozenset(_named(row["config"]))) for row in rows]


async def external_listeners(
    connection: AsyncConnection[DictRow], owner: Owner, subscriptions: Sequence[UUID], app: str
) -> list[Listener]:
    """Return the live triggers that listen to these subscriptions, over connectors of `app`."""
    cursor = await connection.execute(_EXTERNAL, (owner.tenant_id, list(subscriptions)))
    listeners = []
    for row in await cursor.fetchall():
        hears = frozenset({str(row.pop("subscription_id"))})
        mapping = None
        if row["type"].startswith("data-record-"):
            place = Place(row["integration_id"], app, row["connection_id"], row["instance_key"])
            mapping = await _mapping(connection, owner, row["config"], place)
        listeners.append(Listener(**row, hears=hears, mapping=mapping))
    return listeners


def _named(config: Mapping[str, Any]) -> list[str]:
    """Return how a trigger names its type of event: `appEventKey`, or `appEvent` with key or id."""
    named = config.get("appEvent")
    reference = named if isinstance(named, Mapping) else {"key": named}
    names = [config.get("appEventKey"), reference.get("key"), reference.get("id")]
    return [name for name in names if isinstance(name, str)]


async def _mapping(
    connection: AsyncConnection[DictRow], owner: Owner, config: Mapping[str, Any], place: Place
) -> dict[str, Any]:
    """Return a trigger's field mapping; what it says itself wins over the element it names."""
    own = config.get(_MAPPING)
    own = own if isinstance(own, Mapping) else {"key": own} if isinstance(own, str) else {}
    shared: Mapping[str, Any] = {}
    if isinstance(key := own.get("key"), str):
        scope = (owner.workspace_id, owner.tenant_id)
        rows = await layers_of(connection, kind="field-mapping", key=key, owner=scope)
        found = resolve(rows, place)
        shared = found.spec if found is not None else {}
    imported = [own.get("importValue"), shared.get("importValue"), shared.get("defaultImportValue")]
    unified = [own.get("unifiedImportValue"), shared.get("unifiedImportValue")]
    return {
        "importValue": next((each for each in imported if each is not None), None),
        "unifiedImportValue": next((each for each in unified if each is not None), None),
        "includeRawFields": own.get("includeRawFields"),
    }
