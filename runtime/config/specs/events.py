"""What happens in the product, as the product tells it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.config.specs.base import Spec

__all__ = ["AppEventTypeSpec"]


class AppEventTypeSpec(Spec):
    """A type of event: its shape, and a formula that says which tenant an event belongs to."""

    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    example: Any = None
    #: A formula over the event that gives the tenant's key.
    tenant_id_formula: Any = None
