"""What the actions that a connector describes give back, as a schema, where nobody says otherwise.

Which fields are sensitive is known from there too, so a collection's marks hold for its records.
"""

from __future__ import annotations

from typing import Any

from runtime.actions.collections import collection_of
from runtime.actions.data_records_run import collection_key
from runtime.actions.operations import operation_of
from runtime.config.data_actions import (
    ConnectorOperationAction,
    DataAction,
    DeleteDataRecordAction,
    FindDataRecordAction,
    ListDataRecordsAction,
    MatchDataRecordAction,
    SearchDataRecordAction,
)
from runtime.connectors.definition import ConnectorDefinition
from runtime.errors import VesicleError

__all__ = ["default_output_schema", "record_schema"]

_TEXT = {"type": "string"}


def default_output_schema(action: Any, definition: ConnectorDefinition) -> dict[str, Any] | None:
    """Return the schema of what an action's type gives over a connector; None if it is not known.

    It is that of the output before the action's own output mapping.
    """
    try:
        if isinstance(action, ConnectorOperationAction):
            return operation_of(definition, action.config.operation_key).output_schema
        if not isinstance(action, DataAction) or isinstance(action, DeleteDataRecordAction):
            return None
        key = collection_key(action.config.data_source, definition)
        fields = collection_of(definition, key).fields_schema
    except VesicleError:  # the run itself says what is missing
        return None
    return _output_on(action, fields)


def _output_on(action: DataAction, fields: dict[str, Any] | None) -> dict[str, Any]:
    """Return the schema of what an action on a collection with such fields gives."""
    mapping = action.config.field_mapping
    imported = mapping.app_schema if mapping.import_value is not None else fields
    record = record_schema(imported, fields if mapping.include_raw_fields else None)
    match action:
        case ListDataRecordsAction() | SearchDataRecordAction():
            properties = {"records": {"type": "array", "items": record}, "cursor": _TEXT}
            return {"type": "object", "properties": properties, "required": ["records"]}
        case FindDataRecordAction():
            return record
        case MatchDataRecordAction():
            return {**record, "type": ["object", "null"]}
        case _:
            return {"type": "object", "properties": {"id": _TEXT}, "required": ["id"]}


def record_schema(
    fields: dict[str, Any] | None, raw: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the schema of a record with such fields."""
    properties: dict[str, Any] = {
        "id": _TEXT,
        "name": _TEXT,
        "uri": _TEXT,
        "createdTime": _TEXT,
        "updatedTime": _TEXT,
        "fields": fields or {"type": "object"},
        "udm": _TEXT,
        "unifiedFields": {"type": "object"},
    }
    if raw is not None:
        properties["rawFields"] = raw
    return {"type": "object", "properties": properties, "required": ["id", "fields"]}
