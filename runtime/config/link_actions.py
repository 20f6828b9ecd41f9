"""The types of action that note, find and remove data links."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.config.specs.base_action import BaseAction

__all__ = [
    "LINK_ACTION_TYPES",
    "CreateDataLinkAction",
    "DataLinkAction",
    "DeleteDataLinkAction",
    "FindDataLinkAction",
]


class _TableReference(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1, max_length=200)


class _LinkConfig(BaseModel):
    """Which table, and which records; the records' ids may be formulas."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    data_link_table: _TableReference
    direction: Literal["import", "export", "both"] = "both"


class PairConfig(_LinkConfig):
    """Both records of a link."""

    app_record_id: Any
    external_record_id: Any


class FindLinkConfig(_LinkConfig):
    """At least one of the records."""

    direction: Literal["import", "export", "both"] | None = None  # type: ignore[assignment] # none asks for any
    app_record_id: Any = None
    external_record_id: Any = None


class DataLinkAction(BaseAction):
    """Does something with the links of a connection."""

    config: Any


class CreateDataLinkAction(DataLinkAction):
    """Notes that two records belong together; noted again, it stays one link."""

    type: Literal["create-data-link"]
    config: PairConfig


class FindDataLinkAction(DataLinkAction):
    """Finds a link by one of its records; null if there is none."""

    type: Literal["find-data-link"]
    config: FindLinkConfig


class DeleteDataLinkAction(DataLinkAction):
    """Removes a link; removed again, nothing happens."""

    type: Literal["delete-data-link"]
    config: PairConfig


#: As specifications spell them.
LINK_ACTION_TYPES: frozenset[str] = frozenset(
    get_args(model.model_fields["type"].annotation)[0] for model in DataLinkAction.__subclasses__()
)
