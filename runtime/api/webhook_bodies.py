"""What callers say about webhook endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool
from pydantic.alias_generators import to_camel

from runtime.outbox import EVENTS
from runtime.webhooks.endpoints import is_event

__all__ = ["BulkReplay", "EndpointChange", "EndpointUrl", "Events", "NewEndpoint", "Rotation"]

#: Seconds for which the secret before a rotation may stay valid: 30 days.
_LONGEST_OVERLAP = 30 * 86_400


def _known(names: list[str]) -> list[str]:
    for name in names:
        if not is_event(name):
            message = f"there is no event {name[:60]!r}; there are {', '.join(EVENTS)}, kind.*, *"
            raise ValueError(message)
    return list(dict.fromkeys(names))


Events = Annotated[list[str], Field(max_length=50), AfterValidator(_known)]
EndpointUrl = Annotated[str, Field(min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class NewEndpoint(_Body):
    """An endpoint as a caller describes it; without events it gets them all."""

    url: EndpointUrl
    events: Events = Field(default_factory=lambda: ["*"])
    description: str | None = Field(default=None, max_length=1000)
    is_enabled: StrictBool = True


class EndpointChange(_Body):
    """What is to change about an endpoint."""

    url: EndpointUrl = ""
    events: Events = Field(default_factory=list)
    description: str | None = Field(default=None, max_length=1000)
    is_enabled: StrictBool = True

    def changes(self) -> dict[str, Any]:
        """Return what was given, by column."""
        return self.model_dump(exclude_unset=True)


class Rotation(_Body):
    """How long the secret before stays valid beside the new one."""

    overlap_seconds: float = Field(default=86_400, ge=0, le=_LONGEST_OVERLAP, strict=True)


class BulkReplay(_Body):
    """Which deliveries of an endpoint are sent again: those since a moment, of a status."""

    since: datetime
    status: Literal["failed", "delivered", "pending", "any"] = "failed"
    limit: int = Field(default=1000, ge=1, le=10_000)
