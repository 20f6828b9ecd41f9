"""Where records come from and how they become what the product works with."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from runtime.config.specs.base import Spec

__all__ = ["AppDataSchemaSpec", "DataLinkTableSpec", "DataSourceSpec", "FieldMappingSpec"]


class DataSourceSpec(Spec):
    """Records of a connected app: a collection of its connector, or a unified model."""

    collection_key: str | None = Field(default=None, min_length=1, max_length=100)
    collection_parameters: Any = None
    udm: str | None = Field(default=None, min_length=1, max_length=100)
    #: Seconds between two looks for what is new, and between two looks at everything.
    pull_updates_interval_seconds: int = Field(default=300, ge=60, le=2_592_000)
    full_sync_interval_seconds: int = Field(default=10_800, ge=60, le=2_592_000)

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if self.collection_key is None and self.udm is None:
            raise ValueError("give collectionKey or udm")
        return self


class FieldMappingSpec(Spec):
    """How an app's records become the product's (import), and the other way round (export)."""

    direction: Literal["import", "export", "both"] = "both"
    data_source_key: str | None = Field(default=None, min_length=1, max_length=400)
    #: Formulas; the defaults stand where the others are not given.
    import_value: Any = None
    default_import_value: Any = None
    export_value: Any = None
    default_export_value: Any = None
    unified_import_value: Any = None
    unified_export_value: Any = None
    #: The product's side of the mapping.
    app_schema: dict[str, Any] | None = None
    #: Fields that a tenant's adaptation leaves as they are, by JSON pointer below the value.
    frozen_import_fields: list[str] = Field(default_factory=list, max_length=1000)
    frozen_export_fields: list[str] = Field(default_factory=list, max_length=1000)
    frozen_unified_export_fields: list[str] = Field(default_factory=list, max_length=1000)


class DataLinkTableSpec(Spec):
    """Which of the product's records are which of a connected app's; its links stand apart."""


class AppDataSchemaSpec(Spec):
    """A shape of the product's own data, to map to and from."""

    schema_: dict[str, Any] = Field(alias="schema")
