"""What a run goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from runtime.tenancy import Owner

__all__ = [
    "KINDS",
    "TERMINAL",
    "Claim",
    "Ending",
    "NewRun",
    "Postponement",
    "RunKind",
    "Status",
    "Ticket",
]

Status = Literal["queued", "running", "completed", "failed", "stopped"]
TERMINAL = frozenset({"completed", "failed", "stopped"})
RunKind = Literal[
    "action",
    "flow",
    "connection-test",
    "connection-refresh",
    "event-launch",
    "event-webhook",
    "event-pull",
    "event-setup",
]
#: What this release can run.
KINDS = frozenset(get_args(RunKind))


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is about to be accepted."""

    id: UUID
    kind: RunKind
    queue: str
    request: dict[str, Any]
    input: Any
    meta: dict[str, Any] | None = None
    element_id: UUID | None = None
    element_key: str | None = None
    element_revision: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    priority: int = 0
    #: The dead letter that this run repeats.
    redrive_of: UUID | None = None
    #: Whether it waits in the table, behind a backlog that the queue has no room for.
    waits_in_table: bool = False


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a verified message says: which run, and whose."""

    run_id: UUID
    owner: Owner
    kind: str


@dataclass(slots=True)  # not frozen: of so many fields that costs 2 µs for each run
class Claim:
    """A run that this worker holds until `lease_until`, and must hold to finish."""

    run_id: UUID
    owner: Owner
    lease_token: UUID
    kind: str
    input: Any
    request: dict[str, Any]
    meta: dict[str, Any] | None
    element_id: UUID | None
    element_key: str | None
    integration_id: UUID | None
    connection_id: UUID | None
    #: Starts so far, this one included, and how many of them ended with their worker's death.
    attempt: int
    takeovers: int
    #: Times that the run was parked.
    parks: int
    queue: str
    #: When an earlier attempt called the outside app; its effect may exist.
    called_at: datetime | None
    started_at: datetime
    #: Why the run must not start after all: `tenant_archived`, `connection_archived`, …
    obstacle: str | None

    @property
    def instance_key(self) -> str | None:
        """Return which of its connection's instances is run; None for the first one."""
        key: str | None = self.request.get("instanceKey")
        return key


@dataclass(frozen=True, slots=True)
class Postponement:
    """Why and for how long a run is put off; a retry counts as an attempt, all else does not."""

    reason: Literal["retry", "rate_limited", "limit", "trouble", "waiting"]
    #: Seconds.
    delay: float
    #: What the attempt came to, as the API shows errors.
    error: dict[str, Any]


@dataclass(slots=True)
class Ending:
    """How a run ended, with everything that goes on record about it."""

    status: Status
    output: Any = None
    error: dict[str, Any] | None = None
    #: What the run's code logged, redacted; None if nothing.
    logs: list[dict[str, Any]] | None = None
    #: Why a failed run is a dead letter.
    dead_reason: str | None = None
    element_id: UUID | None = None
    element_key: str | None = None
    element_revision: str | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    #: Input, output and error as the activity record keeps them: redacted and capped.
    recorded_input: Any = None
    recorded_output: Any = None
    #: Resource -> units really consumed.
    usage: dict[str, float] = field(default_factory=dict)
    #: Whether reservations were made that have to be settled.
    reserved: bool = False
