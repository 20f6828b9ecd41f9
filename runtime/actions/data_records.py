"""Records: what an item of an app's becomes, so that the records of all apps look alike."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.actions.operations import malformed
from runtime.connectors.collection_specs import DataCollection, RecordMapping
from runtime.errors import ConfigurationError
from runtime.formulas import UNDEFINED, Compiled, compile_template

__all__ = ["AT_ONCE", "DataRecord", "RecordReader"]

#: Records that are made before the other runs of the process get their turn: about 2 ms.
AT_ONCE = 100
_TEXTS = ("name", "uri", "created_time", "updated_time")
_PARTS = ("id", "fields", *_TEXTS)


@dataclass(frozen=True, slots=True)
class DataRecord:
    """One record of a collection."""

    id: str
    fields: dict[str, Any]
    name: str | None = None
    uri: str | None = None
    created_time: str | None = None
    updated_time: str | None = None
    unified_fields: dict[str, Any] | None = None
    udm: str | None = None
    #: The item as the app has it.
    raw: Any = None

    def public(self) -> dict[str, Any]:
        """Return the record as it goes out, without what it does not have and the raw item."""
        shown = {
            "id": self.id,
            "name": self.name,
            "uri": self.uri,
            "createdTime": self.created_time,
            "updatedTime": self.updated_time,
            "fields": self.fields,
            "udm": self.udm,
            "unifiedFields": self.unified_fields,
        }
        return {name: value for name, value in shown.items() if value is not None}


class RecordReader:
    """Reads the items of one collection; its formulas are compiled once."""

    def __init__(self, key: str, spec: DataCollection) -> None:
        """Take a collection. Raises ConfigurationError for a formula that cannot work."""
        self._where = f"/data/{key}"
        self._is_record = spec.record is None
        mapping = spec.record or _AS_GIVEN
        self._parts = {
            name: self._compiled(formula, f"/record/{name}")
            for name in _PARTS
            if (formula := getattr(mapping, name)) is not None
        }
        self._udm = spec.unified.udm if spec.unified else None
        self._unified = None
        if spec.unified is not None and spec.unified.import_value is not None:
            self._unified = self._compiled(spec.unified.import_value, "/unified/importValue")

    async def read_all(self, items: Sequence[Any]) -> list[DataRecord]:
        """Return the items as records.

        Raises ConnectionFailedError (`data.reason`: `malformed`) for an item that is none.
        """
        records = []
        for position, item in enumerate(items):
            if position % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            records.append(self.read(item, f"record {position}"))
        return records

    def read(self, item: Any, what: str = "the record") -> DataRecord:
        """Return an item as a record; raises as `read_all` does."""
        if not isinstance(item, Mapping):
            raise malformed(f"{self._where}: {what} of the outside app is not an object.")
        found = {name: self._value(name, {"record": item}) for name in self._parts}
        fields = found.get("fields")
        if fields is None:
            fields = {}
        if not isinstance(fields, Mapping):
            raise malformed(f"{self._where}: the fields of {what} are not an object.")
        fields = dict(fields)
        return DataRecord(
            id=self._id(found.get("id"), what),
            fields=fields,
            unified_fields=self._unify(fields),
            udm=self._udm,
            raw=item.get("rawFields", item) if self._is_record else item,
            **{name: _text(found.get(name)) for name in _TEXTS},
        )

    def id_of(self, output: Any, done: str) -> str:
        """Return the id in what `create` or `update` answered; `done` says what has been done."""
        if isinstance(output, Mapping):
            found = self._value("id", {"record": output})
            for value in (found, output.get("id")):
                if _is_id(value):
                    return str(value)
        if isinstance(output, str) and output:
            return output
        raise malformed(
            f"{self._where}: the record was {done}, but the outside app's answer has no id."
        )

    def _id(self, value: Any, what: str) -> str:
        if not _is_id(value):
            raise malformed(f"{self._where}: {what} of the outside app has no id.")
        return str(value)

    def _unify(self, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        if self._unified is None:
            return None
        value = self._unified.evaluate({"fields": fields})
        return dict(value) if isinstance(value, Mapping) else {}

    def _value(self, name: str, variables: Mapping[str, Any]) -> Any:
        value = self._parts[name].evaluate(variables)
        return None if value is UNDEFINED else value

    def _compiled(self, formula: Any, path: str) -> Compiled:
        try:
            return compile_template(formula)
        except ConfigurationError as error:
            where = self._where + path + str(error.data.get("path") or "")
            raise ConfigurationError(
                f"{where}: {error.message}", data={**error.data, "path": where}
            ) from None


_AS_GIVEN = RecordMapping.model_validate(
    {
        "id": {"$var": "$.record.id"},
        "name": {"$var": "$.record.name"},
        "uri": {"$var": "$.record.uri"},
        "fields": {"$var": "$.record.fields"},
        "createdTime": {"$var": "$.record.createdTime"},
        "updatedTime": {"$var": "$.record.updatedTime"},
    }
)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _text(value: Any) -> str | None:
    """Return what is not essential to a record as text, or not at all."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None
