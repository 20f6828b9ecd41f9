"""The types of action that are described by a connector: its operations and its data collections.

Any value of a configuration may be a formula, but for the keys that say which.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from runtime.config.specs.base_action import BaseAction

__all__ = [
    "CONNECTOR_ACTION_TYPES",
    "ConnectorOperationAction",
    "CreateDataRecordAction",
    "DataAction",
    "DataSourceConfig",
    "DeleteDataRecordAction",
    "FieldMappingConfig",
    "FindDataRecordAction",
    "FindOrCreateDataRecordAction",
    "ListDataRecordsAction",
    "MatchDataRecordAction",
    "SearchDataRecordAction",
    "UpdateDataRecordAction",
]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


class DataSourceConfig(_Config):
    """Which records: those of a data source element, of a collection, or of a unified model."""

    key: str | None = Field(default=None, min_length=1, max_length=400)
    collection_key: str | None = Field(default=None, min_length=1, max_length=100)
    collection_parameters: Any = None
    udm: str | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if self.key is None and self.collection_key is None and self.udm is None:
            raise ValueError("give key, collectionKey or udm")
        return self


class FieldMappingConfig(_Config):
    """How records become what the product works with, and the other way round."""

    key: str | None = Field(default=None, min_length=1, max_length=400)
    #: What is exported: the product's data.
    input: Any = None
    include_raw_fields: bool = False
    #: The product's fields: a formula over a record's `fields`, `unifiedFields`, `id` and so on.
    import_value: Any = None
    #: The collection's fields: a formula over `input`.
    export_value: Any = None
    #: The same for the unified fields of collections that have them.
    unified_import_value: Any = None
    unified_export_value: Any = None
    #: Fields that are exported where the mapping gives none.
    default_value: Any = None
    default_unified_value: Any = None
    app_schema: dict[str, Any] | None = None


class _SourceConfig(_Config):
    data_source: DataSourceConfig


class _MappedConfig(_SourceConfig):
    field_mapping: FieldMappingConfig = FieldMappingConfig()


class ListConfig(_MappedConfig):
    """Configuration of `list-data-records`."""

    filter: Any = None
    unified_filter: Any = None
    cursor: Any = None


class FindConfig(_MappedConfig):
    """Configuration of `find-data-record-by-id` and `update-data-record`."""

    id: Any


class MatchConfig(_MappedConfig):
    """Configuration of `match-data-record` and `find-or-create-data-record`."""

    query: Any


class SearchConfig(MatchConfig):
    """Configuration of `search-data-record`."""

    cursor: Any = None


class DeleteConfig(_SourceConfig):
    """Configuration of `delete-data-record`."""

    id: Any


class OperationConfig(_Config):
    """Configuration of `connector-operation`; without a mapping the run's input is given."""

    operation_key: str = Field(min_length=1, max_length=100)
    input_mapping: Any = None


class ConnectorOperationAction(BaseAction):
    """Does what a connector's operation says."""

    type: Literal["connector-operation"]
    config: OperationConfig


class DataAction(BaseAction):
    """Does something with the records of a data collection."""

    #: The methods of the collection that it may call and that change something.
    writes: ClassVar[tuple[str, ...]] = ()
    config: Any


class ListDataRecordsAction(DataAction):
    """Lists records, a page at a time."""

    type: Literal["list-data-records"]
    config: ListConfig


class FindDataRecordAction(DataAction):
    """Finds the record with an id."""

    type: Literal["find-data-record-by-id"]
    config: FindConfig


class MatchDataRecordAction(DataAction):
    """Finds the record whose fields are as asked, or none."""

    type: Literal["match-data-record"]
    config: MatchConfig


class SearchDataRecordAction(DataAction):
    """Finds records by text."""

    type: Literal["search-data-record"]
    config: SearchConfig


class CreateDataRecordAction(DataAction):
    """Creates a record."""

    writes = ("create",)
    type: Literal["create-data-record"]
    config: _MappedConfig


class UpdateDataRecordAction(DataAction):
    """Changes a record."""

    writes = ("update",)
    type: Literal["update-data-record"]
    config: FindConfig


class FindOrCreateDataRecordAction(DataAction):
    """Finds the record whose fields are as asked, else creates it."""

    writes = ("create",)
    type: Literal["find-or-create-data-record"]
    config: MatchConfig


class DeleteDataRecordAction(DataAction):
    """Deletes a record."""

    writes = ("delete",)
    type: Literal["delete-data-record"]
    config: DeleteConfig


_MODELS: tuple[type[BaseAction], ...] = (ConnectorOperationAction, *DataAction.__subclasses__())

#: The types of action that only a connection can run, as specifications spell them.
CONNECTOR_ACTION_TYPES: frozenset[str] = frozenset(
    get_args(model.model_fields["type"].annotation)[0] for model in _MODELS
)
