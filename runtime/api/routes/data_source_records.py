"""Records of a data source's instance: its collection over its connection, with its parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.actions.collections import collection_of
from runtime.actions.connected import load_connector
from runtime.actions.data_records_run import collection_key
from runtime.actions.operations import evaluated
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.collection_requests import action_on, given_to, outcome_of
from runtime.api.connector_shapes import shown_collection
from runtime.api.element_writes import Record
from runtime.api.instances import Instances
from runtime.api.routes.connection_data import run_inline
from runtime.api.running import answer_run
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.config.data_actions import DataSourceConfig
from runtime.config.kinds import kind_of
from runtime.connectors.collection_specs import METHODS, DataCollection
from runtime.credentials.manage import find_connection
from runtime.errors import BadRequestError, ConfigurationError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["instances"])

ServicesHere = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True, slots=True)
class _Source:
    """An instance of a data source, and the collection that it names."""

    record: Record
    key: str
    collection: DataCollection

    def action(self, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the action that does a method; what the caller gives wins over the source's."""
        action = action_on(self.key, method)
        own = self.record.get("collectionParameters")
        if own is not None:
            asked = given.get("parameters") or {}
            # What a caller gives is data, and what the source says may be a formula.
            whole = own if isinstance(own, dict) or not asked else {}
            over = {name: {"$plain": value} for name, value in asked.items()}
            action["config"]["dataSource"]["collectionParameters"] = {**whole, **over}
        return action


@router.get("/data-source-instance/collection")
async def get_collection(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return what the instance's collection holds and offers."""
    source = await _source(request, caller, services)
    return JsonAnswer(shown_collection(source.key, source.collection))


def _runs(name: str, method: str) -> Callable[..., Awaitable[Response]]:
    """Return the endpoint of one method of the instance's collection."""

    async def run_method(
        request: Request, caller: TenantCaller, services: ServicesHere
    ) -> Response:
        body = await json_object(request)
        source = await _source(request, caller, services)
        wanted = method
        if name == "find":
            wanted, body = _found(body)
        given = given_to(wanted, body, source.collection, {})
        action, over = source.action(wanted, given), source.record["connectionId"]
        row = await run_inline(request, caller, services, over, action, given)
        return outcome_of(wanted, row) or answer_run(request, row)

    run_method.__doc__ = f"Run {name} of the instance's collection over its connection."
    return run_method


for _name, _method in {**{name: name for name in METHODS}, "find": "list"}.items():
    router.add_api_route(
        f"/data-source-instance/collection/{_name}",
        _runs(_name, _method),
        methods=["POST"],
        response_class=JsonAnswer,
        name=f"{_name}_records_of_source",
    )


@router.post("/data-source-instance/unified-fields-to-native")
async def unified_fields_to_native(
    request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return the collection's own fields for unified ones, which are the whole body."""
    body = await json_object(request)
    source = await _source(request, caller, services)
    unified = source.collection.unified
    if unified is None or unified.export_value is None:
        raise ConfigurationError(
            f"The collection {source.key!r} does not say how unified fields become its own."
        )
    where = f"/data/{source.key}/unified/exportValue"
    return JsonAnswer(evaluated(unified.export_value, {"unifiedFields": body}, where) or {})


async def _source(request: Request, caller: Caller, services: Services) -> _Source:
    instances = Instances(services, caller, kind_of("data-source"))
    wanted = await instances.asked(query_of(request))
    if caller.tenant_id is not None:
        await instances.begin(wanted)
    record = await instances.shown(wanted)
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, record["connectionId"])
        definition = await load_connector(database, caller.workspace_id, row["connector_key"])
    named = {name: record.get(name) for name in ("collectionKey", "udm")}
    config = parse(DataSourceConfig, named, ConfigurationError, "the data source")
    key = collection_key(config, definition)
    return _Source(record, key, collection_of(definition, key))


def _found(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return which method the older `find` is: search for a text, and else list by fields."""
    if unknown := sorted(set(body) - {"query", "cursor"}):
        raise BadRequestError(
            f"find does not know {unknown[0][:60]!r}; it takes query, cursor.",
            data={"path": f"/{unknown[0][:60]}"},
        )
    query, cursor = body.get("query"), body.get("cursor")
    if isinstance(query, str):
        return "search", {"query": query, "cursor": cursor}
    return "list", {"filter": query, "cursor": cursor}
