"""A connector's operations and data collections as callers see them: what, not how."""

from __future__ import annotations

from typing import Any

from runtime.connectors.collection_specs import METHODS, DataCollection, Operation
from runtime.connectors.definition import ConnectorDefinition

__all__ = [
    "listed_collection",
    "listed_operation",
    "shown_collection",
    "shown_connector",
    "shown_operation",
]


def shown_connector(definition: ConnectorDefinition) -> dict[str, Any]:
    """Return what a connector asks of those who connect, and what it offers them."""
    return _present(
        {
            "key": definition.key,
            "name": definition.name,
            "description": definition.description,
            "logoUri": definition.logo_uri,
            "categories": list(definition.categories),
            "externalAppKey": definition.external_app,
            "authType": definition.auth.type,
            "parametersSchema": definition.parameters_schema,
            "credentialsSchema": definition.credentials_schema,
            "canTest": definition.test is not None,
            "operations": [listed_operation(*one) for one in definition.operations.items()],
            "dataCollections": [listed_collection(*one) for one in definition.data.items()],
        }
    )


def listed_operation(key: str, operation: Operation) -> dict[str, Any]:
    """Return an operation as a list has it."""
    return _present(
        {
            "key": key,
            "name": operation.name,
            "description": operation.description,
            "tags": list(operation.tags) or None,
            "isReadOnly": operation.is_read_only,
        }
    )


def shown_operation(key: str, operation: Operation) -> dict[str, Any]:
    """Return an operation with its schemas."""
    schemas = {"inputSchema": operation.input_schema, "outputSchema": operation.output_schema}
    return listed_operation(key, operation) | _present(schemas)


def listed_collection(key: str, collection: DataCollection) -> dict[str, Any]:
    """Return a data collection as a list has it."""
    return {"key": key, "name": collection.name, "type": "collection"}


def shown_collection(key: str, collection: DataCollection) -> dict[str, Any]:
    """Return a data collection with its schemas and what it offers, each with its abilities."""
    about = {
        "description": collection.description,
        "udm": collection.unified.udm if collection.unified else None,
        "parametersSchema": collection.parameters_schema,
        "fieldsSchema": collection.fields_schema,
    }
    offered = {name: _abilities(method) for name, method in collection.methods()}
    return (
        listed_collection(key, collection)
        | _present(about)
        | offered
        | {"methods": [name for name, member in METHODS.items() if getattr(collection, member)]}
    )


def _abilities(method: Any) -> dict[str, Any]:
    abilities = {}
    for name, member in (("filterFields", "filter_fields"), ("fields", "fields")):
        if fields := getattr(method, member, ()):
            abilities[name] = list(fields)
    return abilities


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
