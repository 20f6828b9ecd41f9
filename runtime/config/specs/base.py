"""What every element's specification has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = ["Spec"]


class Spec(BaseModel):
    """What every element's specification has in common; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    meta: dict[str, Any] | None = None
