"""A data collection in use: its records listed, looked for, created, changed and deleted.

What the app cannot do is done on our side, over a bounded number of its pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from runtime.actions.collections_filter import checked_filter, holds_text, matches, split_filter
from runtime.actions.data_records import DataRecord, RecordReader
from runtime.actions.operations import AppCalls
from runtime.actions.schema import check_input
from runtime.connectors.collection_specs import METHODS, DataCollection, Method
from runtime.connectors.definition import ConnectorDefinition
from runtime.errors import (
    ActionRunError,
    ConfigurationError,
    ConnectionFailedError,
    InputInvalidError,
    NotFoundError,
)
from runtime.formulas import computed, computed_in_turns

__all__ = ["Collection", "RecordPage", "collection_of"]

#: Pages that one list or search looks through until it has a record to show.
_PAGES_FOR_ONE = 10
#: Pages that are looked through for the one record with some fields or an id.
_PAGES_FOR_MATCH = 100

Keep = Callable[[DataRecord], bool]


class RecordPage(NamedTuple):
    """Some records, and the cursor of what follows."""

    records: list[DataRecord]
    cursor: str | None


def collection_of(definition: ConnectorDefinition, key: str) -> DataCollection:
    """Return a connector's data collection; NotFoundError names those that there are."""
    if (spec := definition.data.get(key)) is None:
        known = ", ".join(sorted(definition.data)[:20]) or "none"
        raise NotFoundError(
            f"The connector {definition.key!r} has no data collection {key[:100]!r}; it has:"
            f" {known}."
        )
    return spec


@dataclass(frozen=True, slots=True)
class Collection:
    """One data collection over one connection.

    Every method raises ConfigurationError if the collection does not offer what it needs, and
    what the app's answer stands for.
    """

    calls: AppCalls
    key: str
    spec: DataCollection
    parameters: Mapping[str, Any]
    reader: RecordReader = field(init=False)

    def __post_init__(self) -> None:
        """Compile the formulas and check the parameters. Raises InputInvalidError."""
        object.__setattr__(self, "reader", RecordReader(self.key, self.spec))
        if not isinstance(self.parameters, Mapping):
            raise InputInvalidError("The parameters of a collection must be an object.")
        if self.spec.parameters_schema is not None:
            checked = check_input(self.spec.parameters_schema, dict(self.parameters))
            object.__setattr__(self, "parameters", checked)

    async def list(
        self, wanted: Any = None, wanted_unified: Any = None, cursor: Any = None
    ) -> RecordPage:
        """Return a page of the records whose fields are as wanted.

        The page may be short, and empty, although more follow: then it has a cursor.
        """
        method = self.spec.list_records
        if method is None:
            raise self._cannot("list")
        unified = checked_filter(wanted_unified, "unifiedFilter")
        if unified and (self.spec.unified is None or self.spec.unified.import_value is None):
            raise ConfigurationError(
                f"The collection {self.key!r} has no unified fields to filter by."
            )
        theirs, ours = split_filter(checked_filter(wanted, "filter"), method.filter_fields)

        def keep(record: DataRecord) -> bool:
            return matches(record.fields, ours) and matches(record.unified_fields or {}, unified)

        return await self._some(
            "list", {"filter": theirs or None}, cursor, keep if ours or unified else None
        )

    async def search(self, query: Any, cursor: Any = None) -> RecordPage:
        """Return a page of the records in which a text stands, as the app understands that."""
        if not isinstance(query, str) or not query.strip():
            raise InputInvalidError("The query of a search must be a text.")
        if self.spec.search is not None:
            return await self._some("search", {"query": query}, cursor, None)
        if self.spec.list_records is None:
            raise self._cannot("search")
        return await self._some(
            "list", {}, cursor, lambda record: holds_text([record.name, record.fields], query)
        )

    async def match(self, query: Any) -> DataRecord | None:
        """Return the first record whose fields are as asked, None if there is none."""
        wanted = checked_filter(query, "query")
        if not wanted:
            raise InputInvalidError("A match needs at least one field to look for.")
        method = self.spec.match
        if method is not None and (not method.fields or wanted.keys() <= set(method.fields)):
            try:
                item = await self._call("match", {"query": dict(wanted)})
            except ConnectionFailedError as error:
                if _status(error) == HTTPStatus.NOT_FOUND:
                    return None
                raise
            return None if item is None else await computed(lambda: self.reader.read(item))
        if self.spec.list_records is None:
            raise self._cannot("match")
        theirs, ours = split_filter(wanted, self.spec.list_records.filter_fields)
        return await self._first({"filter": theirs or None}, lambda one: matches(one.fields, ours))

    async def find(self, record_id: Any) -> DataRecord:
        """Return the record with an id; NotFoundError if the app has none."""
        sought = _checked_id(record_id)
        if self.spec.find_by_id is not None:
            with_id = await self._call("find-by-id", {"id": sought}, sought=sought)
            found = None
            if with_id is not None:
                found = await computed(lambda: self.reader.read(with_id))
        elif self.spec.list_records is not None:
            found = await self._first({}, lambda one: one.id == sought)
        else:
            raise self._cannot("find-by-id")
        if found is None:
            raise self._no_record(sought)
        return found

    async def create(self, fields: Any) -> str:
        """Create a record and return its id."""
        output = await self._call("create", {"fields": _checked_fields(fields)})
        return await computed(lambda: self.reader.id_of(output, "created"))

    async def update(self, record_id: Any, fields: Any) -> str:
        """Change some fields of a record and return its id. Raises NotFoundError."""
        sought = _checked_id(record_id)
        given = {"id": sought, "fields": _checked_fields(fields)}
        output = await self._call("update", given, sought=sought)
        if output is None:
            return sought
        return await computed(lambda: self.reader.id_of(output, "changed"))

    async def delete(self, record_id: Any) -> None:
        """Delete a record. Raises NotFoundError."""
        sought = _checked_id(record_id)
        await self._call("delete", {"id": sought}, sought=sought)

    async def _call(self, name: str, given: Mapping[str, Any], *, sought: str | None = None) -> Any:
        method, where = self._method(name)
        try:
            return await self.calls.call(method.function, self._given(given), where)
        except ConnectionFailedError as error:
            if sought is not None and _status(error) == HTTPStatus.NOT_FOUND:
                raise self._no_record(sought, error) from None
            raise

    async def _some(
        self, name: str, given: Mapping[str, Any], cursor: Any, keep: Keep | None
    ) -> RecordPage:
        """Return the first page on which something is kept, or the last that was looked at."""
        page = RecordPage([], _checked_cursor(cursor))
        seen = {page.cursor}
        for _ in range(_PAGES_FOR_ONE):
            page = await self._page(name, given, page.cursor, seen)
            if keep is None:
                return page
            page = RecordPage([one for one in page.records if keep(one)], page.cursor)
            if page.records or page.cursor is None:
                return page
        return page

    async def _first(self, given: Mapping[str, Any], keep: Keep) -> DataRecord | None:
        """Return the first record that is kept, None if the whole list has none."""
        page = RecordPage([], None)
        seen = {page.cursor}
        for _ in range(_PAGES_FOR_MATCH):
            page = await self._page("list", given, page.cursor, seen)
            found = next((one for one in page.records if keep(one)), None)
            if found is not None or page.cursor is None:
                return found
        raise ActionRunError(
            f"None of the first {_PAGES_FOR_MATCH} pages of {self.key!r} has such a record, and"
            " there are more. The connector should say how the app itself looks for it.",
            data={"pages": _PAGES_FOR_MATCH},
        )

    async def _page(
        self, name: str, given: Mapping[str, Any], cursor: str | None, seen: set[str | None]
    ) -> RecordPage:
        """Return a page; ConnectionFailedError if it says that one of those seen comes next."""
        method, where = self._method(name)
        asked = self._given({**given, "cursor": cursor})
        items, following = await self.calls.page(method.function, asked, where)
        if following is not None and following in seen:
            raise ConnectionFailedError(
                f"The list {where} leads in a circle: the outside app names a page again that was"
                " there before.",
                data={"reason": "cursor_loop"},
            )
        seen.add(following)
        records = await computed_in_turns(lambda: self.reader.read_all(items))
        return RecordPage(records, following)

    def _method(self, name: str) -> tuple[Method, str]:
        member = METHODS[name]
        method: Method | None = getattr(self.spec, member)
        if method is None:
            raise self._cannot(name)
        alias = type(self.spec).model_fields[member].alias or member
        return method, f"/data/{self.key}/{alias}/function"

    def _given(self, given: Mapping[str, Any]) -> dict[str, Any]:
        present = {name: value for name, value in given.items() if value is not None}
        return {"parameters": self.parameters, **present}

    def _cannot(self, name: str) -> ConfigurationError:
        offered = [each for each, member in METHODS.items() if getattr(self.spec, member)]
        return ConfigurationError(
            f"The collection {self.key!r} of the connector {self.calls.definition.key!r} does not"
            f" offer {name}; it offers: {', '.join(offered)}.",
            data={"collection": self.key, "method": name, "offered": offered},
        )

    def _no_record(
        self, record_id: str, caused_by: ConnectionFailedError | None = None
    ) -> NotFoundError:
        return NotFoundError(
            f"The outside app has no record {record_id[:100]!r} in {self.key!r}.",
            caused_by=caused_by,
        )


def _checked_id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputInvalidError("Give the record's id as a text.", data={"path": "/id"})
    return value


def _checked_fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputInvalidError("The fields must be an object.", data={"path": "/fields"})
    return dict(value)


def _checked_cursor(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InputInvalidError("A cursor is a text.", data={"path": "/cursor"})
    return value


def _status(error: ConnectionFailedError) -> Any:
    response = error.data.get("response")
    return response.get("status") if isinstance(response, Mapping) else None
