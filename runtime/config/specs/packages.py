"""Elements that belong together."""

from __future__ import annotations

from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.config.specs.base import Spec

__all__ = ["PackageSpec"]


class _Member(BaseModel):
    """One element of a package: by key or id, or written out in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal[
        "action",
        "app-data-schema",
        "app-event-type",
        "data-link-table",
        "data-source",
        "field-mapping",
        "flow",
    ]
    key: str | None = Field(default=None, min_length=1, max_length=400)
    id: UUID | None = None
    #: Its whole specification, which then need not be in the workspace.
    element: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if self.key is None and (self.id is None or self.element is not None):
            raise ValueError("give key, or the id of an element of the workspace")
        return self


class PackageSpec(Spec):
    """A use case: the elements that a workspace gives its tenants together."""

    elements: list[_Member] = Field(default_factory=list, max_length=1000)
