"""What every type of action has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.config.specs.base import Spec

__all__ = ["BaseAction", "Idempotency", "Retry"]


class Idempotency(BaseModel):
    """How the outside app takes a key under which it does a thing only once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: str = "Idempotency-Key"


class Retry(BaseModel):
    """When a run of an action is tried again. Seconds, and numbers of times."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    #: Attempts in all; one means that a failure is final.
    max_attempts: int = Field(default=1, ge=1, le=100)
    #: The wait before the second attempt; each further one is `factor` times as long.
    initial_delay: float = Field(default=1.0, ge=0.05, le=86_400)
    factor: float = Field(default=2.0, ge=1, le=10)
    max_delay: float = Field(default=300.0, ge=0.05, le=604_800)
    #: How much of a wait may be left out at random, so that runs do not come back together.
    jitter: float = Field(default=0.5, ge=0, le=1)
    #: Only after these: an error's type or key, a status such as `503`, or `5xx`.
    on: frozenset[str] | None = None
    #: How often, and for how many seconds at once, the outside app may have a run wait.
    max_parks: int = Field(default=20, ge=0, le=1000)
    max_wait: float = Field(default=3600.0, ge=0, le=604_800)


class BaseAction(Spec):
    """What every type of action has: schemas, output mapping, cost and safety."""

    input_schema: dict[str, Any] | None = None
    output_mapping: Any = None
    custom_output_schema: dict[str, Any] | None = None
    #: Resource -> units, or a formula over input (reserved) and output (settled).
    cost: dict[str, Any] = Field(default_factory=dict)
    #: Seconds after which the run is ended.
    timeout: float = Field(default=50.0, gt=0, le=3600)
    #: Whether the outside call may be made again when its outcome is unknown.
    safe_to_repeat: bool | None = None
    idempotency: Idempotency | None = None
    retry: Retry = Field(default_factory=Retry)
