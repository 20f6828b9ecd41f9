"""What a product shows its users of an integration: blocks, each about an element."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.config.specs.base import Spec

__all__ = ["ScreenSpec"]


class _Block(BaseModel):
    """One part of a screen; what else it says is for whoever shows it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["flow", "field-mapping", "data-source", "action"]


class ScreenSpec(Spec):
    """A screen about an integration. Vesicle keeps it and draws nothing."""

    type: Literal["integration"]
    blocks: list[_Block] = Field(default_factory=list, max_length=1000)
