"""Operations and data collections: what a connector can do with its app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Self

from pydantic import Field, model_validator

from runtime.connectors.function_specs import Function
from runtime.connectors.spec import Formula, JsonSchema, Spec

__all__ = ["METHODS", "DataCollection", "Method", "Operation", "RecordMapping", "UnifiedMapping"]


class Operation(Spec):
    """One thing that can be done with the app."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    tags: tuple[str, ...] = ()
    #: Whether it changes nothing, and so may be repeated.
    is_read_only: bool | None = None
    input_schema: JsonSchema | None = None
    output_schema: JsonSchema | None = None
    function: Function


class Method(Spec):
    """One thing that can be done with a collection's records."""

    function: Function


class ListMethod(Method):
    """Lists records a page at a time: `{records, cursor?}` from `{parameters, filter, cursor}`."""

    #: Fields by which the app itself can filter; for the others each page is looked through.
    filter_fields: tuple[str, ...] = ()


class ChangedMethod(Method):
    """Lists what was created or updated since a moment, a page at a time.

    `{records, cursor?}` from `{parameters, since, cursor}`; `since` is in ISO 8601. Each record has
    to say when it was changed (`record.updatedTime`, or else `createdTime`).
    """

    #: Seconds by which `since` is put back, for what the app shows late; what did not change
    #: meanwhile is no event again.
    overlap: float = Field(default=60.0, ge=0, le=86_400)


class MatchMethod(Method):
    """Finds the record with these fields, or none: from `{parameters, query}`."""

    #: Fields that it can look for; none means any.
    fields: tuple[str, ...] = ()


class RecordMapping(Spec):
    """How one item of the app's becomes a record: formulas over `record`, the item."""

    id: Formula = Field(default_factory=lambda: {"$var": "$.record.id"})
    name: Formula = None
    uri: Formula = None
    fields: Formula = Field(default_factory=lambda: {"$var": "$.record"})
    created_time: Formula = None
    updated_time: Formula = None


class UnifiedMapping(Spec):
    """What the collection's fields are called in a model that several apps share."""

    udm: str = Field(min_length=1, max_length=100)
    #: The unified fields, a formula over `fields`.
    import_value: Formula = None
    #: The collection's fields, a formula over `unifiedFields`.
    export_value: Formula = None


#: What can be done with records, as routes spell it -> the member that says how.
METHODS: Mapping[str, str] = MappingProxyType(
    {
        "list": "list_records",
        "search": "search",
        "match": "match",
        "find-by-id": "find_by_id",
        "create": "create",
        "update": "update",
        "delete": "delete",
    }
)


class DataCollection(Spec):
    """Records of one kind that the app holds, such as its contacts.

    Methods are given `parameters` and what they are for: `filter` and `cursor`, `query`, `id`,
    `fields`. `list` and `search` answer `{records, cursor?}`, `match` and `findById` an item or
    null, `create` and `update` an item or `{id}`.
    """

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    parameters_schema: JsonSchema | None = None
    fields_schema: JsonSchema | None = None
    #: Without it, the methods' items are records already: `{id, name?, fields}`.
    record: RecordMapping | None = None
    unified: UnifiedMapping | None = None
    list_records: ListMethod | None = Field(default=None, alias="list")
    search: Method | None = None
    match: MatchMethod | None = None
    find_by_id: Method | None = None
    create: Method | None = None
    update: Method | None = None
    delete: Method | None = None
    changed_since: ChangedMethod | None = None

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if not any(True for _ in self.methods()):
            raise ValueError(f"offer at least one of {', '.join(METHODS)}")
        return self

    def methods(self) -> Iterator[tuple[str, Method]]:
        """Yield what is offered, with the member's name as in the document."""
        for member in METHODS.values():
            if (method := getattr(self, member)) is not None:
                yield type(self).model_fields[member].alias or member, method
        if self.changed_since is not None:
            yield "changedSince", self.changed_since
