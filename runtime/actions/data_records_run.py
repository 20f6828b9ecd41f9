"""What the types of action on data collections do, and what they make of fields on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.actions.collections import Collection, RecordPage, collection_of
from runtime.actions.data_records import AT_ONCE, DataRecord
from runtime.actions.operations import AppCalls, evaluated, is_repeatable, operation_of
from runtime.actions.schema import check_input
from runtime.config.data_actions import (
    ConnectorOperationAction,
    CreateDataRecordAction,
    DataAction,
    DataSourceConfig,
    DeleteDataRecordAction,
    FieldMappingConfig,
    FindDataRecordAction,
    FindOrCreateDataRecordAction,
    ListDataRecordsAction,
    MatchDataRecordAction,
    SearchDataRecordAction,
    UpdateDataRecordAction,
)
from runtime.connectors.definition import ConnectorDefinition
from runtime.errors import (
    ConfigurationError,
    DependencyError,
    InputInvalidError,
    VesicleError,
)
from runtime.formulas import computed, computed_in_turns

__all__ = [
    "collection_key",
    "is_repeatable_action",
    "perform_data_action",
    "perform_operation",
]

_MAPPING = "/config/fieldMapping"
#: Members of a configuration, by how they are spelt.
_MEMBERS = {
    "filter": "filter",
    "unifiedFilter": "unified_filter",
    "cursor": "cursor",
    "query": "query",
    "id": "id",
}


async def perform_operation(
    action: ConnectorOperationAction, variables: Mapping[str, Any], calls: AppCalls
) -> Any:
    """Do what a connector's operation says and return its output.

    Raises InputInvalidError for an input that does not fit the operation.
    """
    key = action.config.operation_key
    operation = operation_of(calls.definition, key)
    given = variables["input"]
    if action.config.input_mapping is not None:
        mapping = action.config.input_mapping
        given = await computed(lambda: evaluated(mapping, variables, "/config/inputMapping"))
    if operation.input_schema is not None:
        given = check_input(operation.input_schema, given)
    return await calls.call(operation.function, given, f"/operations/{key}/function")


async def perform_data_action(
    action: DataAction, variables: Mapping[str, Any], calls: AppCalls, looks: AppCalls
) -> Any:
    """Do what an action on a collection's records says and return its output.

    `calls` is for what the action is about, `looks` for what it has to find out before.
    """
    work = await computed(lambda: _Work(action.config, variables, calls))
    return await work.do(action, looks)


def collection_key(source: DataSourceConfig, definition: ConnectorDefinition) -> str:
    """Return the collection that a data source names, or that has its unified model.

    Raises ConfigurationError, DependencyError.
    """
    if source.collection_key is not None:
        return source.collection_key
    if source.udm is None:
        raise DependencyError(
            f"There is no data source {source.key!r}.",
            data={"missing": "data-source", "key": source.key},
        )
    found = [
        key
        for key, spec in definition.data.items()
        if spec.unified is not None and spec.unified.udm == source.udm
    ]
    if len(found) != 1:
        raise ConfigurationError(
            f"The connector {definition.key!r} has {len(found) or 'no'} collections of the model"
            f" {source.udm!r}; name one by collectionKey.",
            data={"path": "/config/dataSource/udm", "found": found},
        )
    return found[0]


def is_repeatable_action(
    action: ConnectorOperationAction | DataAction, definition: ConnectorDefinition
) -> bool:
    """Return whether doing an action twice does no more than doing it once.

    What reads is repeatable; what writes is if its request is, or carries an idempotency key. An
    action that cannot work for want of something does nothing, and so is repeatable.
    """
    if action.idempotency is not None:
        return True
    try:
        if isinstance(action, ConnectorOperationAction):
            operation = operation_of(definition, action.config.operation_key)
            if operation.is_read_only is not None:
                return operation.is_read_only
            return is_repeatable(definition, operation.function)
        if not action.writes:
            return True
        spec = collection_of(definition, collection_key(action.config.data_source, definition))
    except VesicleError:
        return True
    written = (getattr(spec, name) for name in action.writes)
    return all(one is None or is_repeatable(definition, one.function) for one in written)


class _Work:
    """One action on one collection."""

    def __init__(self, config: Any, variables: Mapping[str, Any], calls: AppCalls) -> None:
        self._config = config
        self._variables = variables
        source: DataSourceConfig = config.data_source
        key = collection_key(source, calls.definition)
        parameters = self._value("/dataSource/collectionParameters", source.collection_parameters)
        self._collection = Collection(
            calls, key, collection_of(calls.definition, key), parameters or {}
        )
        self._mapping: FieldMappingConfig | None = getattr(config, "field_mapping", None)

    async def do(self, action: DataAction, looks: AppCalls) -> Any:
        collection = self._collection
        output: Any = None
        match action:
            case ListDataRecordsAction():
                asked = await self._asked("filter", "unifiedFilter", "cursor")
                output = await self._shown_page(await collection.list(*asked))
            case SearchDataRecordAction():
                asked = await self._asked("query", "cursor")
                output = await self._shown_page(await collection.search(*asked))
            case FindDataRecordAction():
                record = await collection.find(*await self._asked("id"))
                output = await computed(lambda: self._shown(record))
            case MatchDataRecordAction():
                found = await collection.match(*await self._asked("query"))
                if found is not None:
                    record = found
                    output = await computed(lambda: self._shown(record))
            case CreateDataRecordAction():
                output = await self._created()
            case UpdateDataRecordAction():
                fields = await self._fields(with_defaults=False)
                (record_id,) = await self._asked("id")
                output = {"id": await collection.update(record_id, fields)}
            case FindOrCreateDataRecordAction():
                looking = replace(collection, calls=looks)
                found = await looking.match(*await self._asked("query"))
                output = await self._created() if found is None else {"id": found.id}
            case DeleteDataRecordAction():
                await collection.delete(*await self._asked("id"))
        return output

    async def _created(self) -> dict[str, Any]:
        fields = await self._fields(with_defaults=True)
        return {"id": await self._collection.create(fields)}

    async def _fields(self, *, with_defaults: bool) -> dict[str, Any]:
        schema = self._collection.spec.fields_schema
        return await computed(lambda: self._exported(with_defaults=with_defaults), schema)

    async def _asked(self, *names: str) -> list[Any]:
        """Return the values of members of the configuration, as they are spelt there."""
        config = self._config
        return await computed(
            lambda: [self._value(f"/{name}", getattr(config, _MEMBERS[name])) for name in names]
        )

    def _value(self, path: str, formula: Any, more: Mapping[str, Any] | None = None) -> Any:
        variables = self._variables if more is None else {**self._variables, **more}
        return evaluated(formula, variables, f"/config{path}")

    # --- fields on their way in ---------------------------------------------------------------

    async def _shown_page(self, page: RecordPage) -> dict[str, Any]:
        async def shown() -> list[dict[str, Any]]:
            records = []
            for position, record in enumerate(page.records):
                if position % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)
                records.append(self._shown(record))
            return records

        records = await computed_in_turns(shown)
        return {"records": records, **({"cursor": page.cursor} if page.cursor else {})}

    def _shown(self, record: DataRecord) -> dict[str, Any]:
        """Return a record as the action's mapping has it."""
        shown, mapping = record.public(), self._mapping
        if mapping is None:
            return shown
        seen = {**shown, "record": shown, "rawFields": record.raw}
        for name, formula in (
            ("fields", mapping.import_value),
            ("unifiedFields", mapping.unified_import_value),
        ):
            if formula is not None:
                member = "importValue" if name == "fields" else "unifiedImportValue"
                shown[name] = self._value(f"/fieldMapping/{member}", formula, seen) or {}
        if mapping.include_raw_fields:
            shown["rawFields"] = record.raw
        return shown

    # --- fields on their way out --------------------------------------------------------------

    def _exported(self, *, with_defaults: bool) -> dict[str, Any]:
        """Return the collection's fields that the mapping makes of its input."""
        mapping = self._mapping or FieldMappingConfig()
        given = self._value("/fieldMapping/input", mapping.input)
        seen = {"input": given}
        fields: dict[str, Any] = {}
        if with_defaults:
            fields |= self._from_unified("defaultUnifiedValue", mapping.default_unified_value, seen)
            fields |= self._object("defaultValue", mapping.default_value, seen)
        fields |= self._from_unified("unifiedExportValue", mapping.unified_export_value, seen)
        if mapping.export_value is not None:
            fields |= self._object("exportValue", mapping.export_value, seen)
        elif mapping.unified_export_value is None and given is not None:
            if not isinstance(given, Mapping):
                raise InputInvalidError("The fields must be an object.", data={"path": "/fields"})
            fields |= given
        return fields

    def _from_unified(self, member: str, formula: Any, seen: Mapping[str, Any]) -> dict[str, Any]:
        if formula is None:
            return {}
        unified = self._collection.spec.unified
        if unified is None or unified.export_value is None:
            raise ConfigurationError(
                f"The collection {self._collection.key!r} has no unified fields to export.",
                data={"path": f"{_MAPPING}/{member}"},
            )
        values = self._object(member, formula, seen)
        where = f"/data/{self._collection.key}/unified/exportValue"
        exported = evaluated(unified.export_value, {"unifiedFields": values}, where)
        return dict(exported) if isinstance(exported, Mapping) else {}

    def _object(self, member: str, formula: Any, seen: Mapping[str, Any]) -> dict[str, Any]:
        value = self._value(f"/fieldMapping/{member}", formula, seen)
        if value is not None and not isinstance(value, Mapping):
            raise ConfigurationError(
                f"{member} must give an object of fields.",
                data={"path": f"{_MAPPING}/{member}", "found": type(value).__name__},
            )
        return dict(value or {})
