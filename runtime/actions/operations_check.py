"""Every formula of a connector and its place, so that all are checked when it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtime.connectors.collection_specs import DataCollection
from runtime.connectors.definition import ApiClient, ConnectorDefinition
from runtime.connectors.function_specs import (
    Function,
    GraphqlFunction,
    MappingFunction,
    OperationFunction,
    RestFunction,
)
from runtime.connectors.spec import Spec

__all__ = ["DATA_TEMPLATES", "formulas_of"]

#: Parts of the configuration of an action on records, or of an operation, that are formulas.
DATA_TEMPLATES = (
    *("dataSource/collectionParameters", "filter", "unifiedFilter", "cursor", "id", "query"),
    *("fieldMapping/input", "fieldMapping/importValue", "fieldMapping/exportValue"),
    *("fieldMapping/unifiedImportValue", "fieldMapping/unifiedExportValue"),
    *("fieldMapping/defaultValue", "fieldMapping/defaultUnifiedValue", "inputMapping"),
)

#: A JSON pointer, and the formula there.
_Placed = tuple[str, Any]


def formulas_of(definition: ConnectorDefinition) -> Iterator[_Placed]:
    """Yield every formula of a connector that is there, with its JSON pointer."""
    yield from _of_client(definition.api_client)
    for path, function in definition.functions():
        yield from _of_function(function, path)
    for key, collection in definition.data.items():
        yield from _of_collection(collection, f"/data/{key}")
    for key, event in definition.events.items():
        yield from _members(event, f"/events/{key}", "dedupe_key", "timestamp")


def _of_client(client: ApiClient) -> Iterator[_Placed]:
    for position, handler in enumerate(client.response_handlers):
        path = f"/apiClient/responseHandlers/{position}"
        yield f"{path}/match/when", handler.match.when
        yield f"{path}/data", handler.data
        if handler.error is not None:
            yield from _members(handler.error, f"{path}/error", "message", "data")
    yield from _of_pagination(client.pagination, "/apiClient/pagination")


def _of_function(function: Function, path: str) -> Iterator[_Placed]:
    below = f"{path}/mapping"
    match function:
        case MappingFunction():
            yield below, function.mapping
        case OperationFunction():
            yield from _members(function.mapping, below, "input_mapping", "output_mapping")
        case GraphqlFunction():
            yield from _members(function.mapping, below, "variables", "response_mapping")
        case RestFunction():
            asked = function.mapping.request_mapping
            names = ("path_parameters", "query", "headers", "data")
            yield from _members(asked, f"{below}/requestMapping", *names)
            yield f"{below}/responseMapping", function.mapping.response_mapping
            if function.mapping.pagination is not None:
                yield from _of_pagination(function.mapping.pagination, f"{below}/pagination")


def _of_collection(collection: DataCollection, path: str) -> Iterator[_Placed]:
    if collection.record is not None:
        names = ("id", "name", "uri", "fields", "created_time", "updated_time")
        yield from _members(collection.record, f"{path}/record", *names)
    if collection.unified is not None:
        yield from _members(collection.unified, f"{path}/unified", "import_value", "export_value")


def _of_pagination(pagination: Spec, path: str) -> Iterator[_Placed]:
    for name in ("cursor", "url", "has_more"):
        if hasattr(pagination, name):
            yield from _members(pagination, path, name)


def _members(part: Spec, path: str, *names: str) -> Iterator[_Placed]:
    for name in names:
        alias = type(part).model_fields[name].alias or name
        yield f"{path}/{alias}", getattr(part, name)
