"""What happens in the product, as the product tells it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.config.specs.base import Spec

__all__ = ["AppEventTypeSpec", "SubscribeRequest"]


class SubscribeRequest(BaseModel):
    """The request that tells the product where to post a tenant's events.

    Every part is a formula over `$.input.webhookUri`, `$.input.instanceKey` and `$.user`. A `uri`
    that is a path goes to the product's own API, with its credentials.
    """

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    uri: Any
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Any = None
    query: Any = None
    body: Any = None


class AppEventTypeSpec(Spec):
    """A type of event: its shape, and a formula that says which tenant an event belongs to."""

    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    example: Any = None
    #: A formula over the event (`$.event`, or its own fields) that gives the tenant's key or id.
    tenant_id_formula: Any = None
    #: The same under its older name.
    user_id_formula: Any = None
    subscribe_request: SubscribeRequest | None = None
