"""Data sources and field mappings that actions name by key, as they are in force for a tenant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from runtime.config.data_actions import DataAction, DataSourceConfig, FieldMappingConfig
from runtime.config.resolve import Place, Resolved, resolve
from runtime.config.store import ElementRow, layers_query
from runtime.db import Database
from runtime.errors import DependencyError
from runtime.tenancy import Owner, Scope

__all__ = ["Completed", "complete", "filled", "named_elements"]

_NAMES = {"data-source": "data source", "field-mapping": "field mapping"}


class Completed(NamedTuple):
    """An action with all that it refers to, and a revision that changes with any of it."""

    action: Any
    revision: str | None


async def complete(
    database: Database,
    owner: Owner,
    action: Any,
    revision: str | None,
    place: Place,
    within: Scope | None = None,
) -> Completed:
    """Return the action with the elements that it names by key filled in.

    `within` is whose eyes they are read with: by default the worker's of this tenant.

    What the action says itself wins over what they say. Raises DependencyError for an element that
    there is not, and ConfigurationError for one that is left without anything to customise.
    """
    named = dict(named_elements(action))
    if not named:
        return Completed(action, revision)
    scope = (owner.workspace_id, owner.tenant_id)
    queries = [layers_query(kind=kind, key=key, owner=scope) for kind, key in named.items()]
    answers = await database.ask(within or Scope.worker([owner]), *queries)
    found: dict[str, Resolved] = {}
    for (kind, key), rows in zip(named.items(), answers, strict=True):
        element = resolve([ElementRow(**row) for row in rows], place)
        if element is None:
            raise DependencyError(
                f"There is no {_NAMES[kind]} {key!r}.", data={"missing": kind, "key": key}
            )
        found[kind] = element
    revisions = ",".join([revision or "", *(one.revision for one in found.values())])
    return Completed(
        filled(action, {kind: element.spec for kind, element in found.items()}),
        hashlib.sha256(revisions.encode()).hexdigest()[:16],
    )


def named_elements(action: Any) -> Iterator[tuple[str, str]]:
    """Yield kind and key of each element that an action refers to."""
    if not isinstance(action, DataAction):
        return
    source: DataSourceConfig = action.config.data_source
    mapping: FieldMappingConfig | None = getattr(action.config, "field_mapping", None)
    if source.key is not None and source.collection_key is None:
        yield "data-source", source.key
    if mapping is not None and mapping.key is not None:
        yield "field-mapping", mapping.key


def filled(action: DataAction, specs: Mapping[str, Mapping[str, Any]]) -> DataAction:
    """Return an action with what the elements of these kinds say, below what it says itself."""
    parts: dict[str, Any] = {}
    if (source := specs.get("data-source")) is not None:
        parts["data_source"] = _under(
            action.config.data_source,
            collection_key=source.get("collectionKey"),
            collection_parameters=source.get("collectionParameters"),
            udm=source.get("udm"),
        )
    if (mapping := specs.get("field-mapping")) is not None:
        parts["field_mapping"] = _under(
            action.config.field_mapping,
            import_value=_first(mapping, "importValue", "defaultImportValue"),
            export_value=_first(mapping, "exportValue", "defaultExportValue"),
            unified_import_value=mapping.get("unifiedImportValue"),
            unified_export_value=mapping.get("unifiedExportValue"),
            app_schema=mapping.get("appSchema"),
        )
    return action.model_copy(update={"config": action.config.model_copy(update=parts)})


def _under(own: Any, **members: Any) -> Any:
    """Return a configuration with members that it does not have itself."""
    missing = {name: value for name, value in members.items() if getattr(own, name) is None}
    return own.model_copy(update=missing)


def _first(spec: Mapping[str, Any], *names: str) -> Any:
    return next((spec[name] for name in names if spec.get(name) is not None), None)
