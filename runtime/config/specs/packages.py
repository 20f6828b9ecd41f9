"""Elements that belong together."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.config.specs.base import Spec

__all__ = ["PackageSpec"]


class _Member(BaseModel):
    """One element of a package, by kind and key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal[
        "action", "app-data-schema", "app-event-type", "data-source", "field-mapping", "flow"
    ]
    key: str = Field(min_length=1, max_length=400)


class PackageSpec(Spec):
    """A use case: the elements that a workspace gives its tenants together."""

    elements: list[_Member] = Field(default_factory=list, max_length=1000)
