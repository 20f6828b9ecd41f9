"""Which limits a run is under."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from runtime.db import Query
from runtime.errors import BadRequestError
from runtime.tenancy import Owner

__all__ = [
    "ACTION_RUNS",
    "LimitRule",
    "LimitScope",
    "Subjects",
    "WhenReached",
    "Window",
    "applicable",
    "limits_query",
    "parse_window",
]

LimitScope = Literal["workspace", "tenant", "integration", "connection", "element"]
#: What becomes of a run that does not fit.
WhenReached = Literal["refuse", "park"]

#: The resource that every action run consumes one unit of.
ACTION_RUNS = "action-runs"

#: Longest rolling window: 30 days, in seconds.
LONGEST_WINDOW = 30 * 86_400

#: Slices of a window; a run may be refused early by at most one of them.
SLICES = 360

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A limit as it stands in the database; `amount` None is unlimited."""

    id: UUID
    tenant_id: UUID | None
    resource: str
    scope: LimitScope
    subject_id: UUID | None
    window_seconds: int
    amount: Decimal | None
    when_reached: WhenReached = "refuse"


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a run is about, so that each limit finds its subject."""

    owner: Owner
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    element_id: UUID | None = None

    def of(self, scope: LimitScope) -> UUID | None:
        """Return the id that a limit of this scope counts for."""
        return {
            "workspace": self.owner.workspace_id,
            "tenant": self.owner.tenant_id,
            "integration": self.integration_id,
            "connection": self.connection_id,
            "element": self.element_id,
        }[scope]


@dataclass(frozen=True, slots=True)
class Window:
    """One limit as it binds one subject."""

    limit_id: UUID
    subject_id: UUID
    owner_tenant: UUID | None
    workspace_id: UUID
    resource: str
    scope: LimitScope
    seconds: int
    amount: Decimal
    when_reached: WhenReached = "refuse"

    @property
    def key(self) -> tuple[UUID, UUID]:
        """Return the primary key of the window's row."""
        return self.limit_id, self.subject_id

    @property
    def slice_seconds(self) -> float:
        """Return the length of one slice."""
        return self.seconds / SLICES


def limits_query(owner: Owner) -> Query:
    """Return what finds every live limit of the workspace that can bind this tenant.

    Each row it finds is a LimitRule's members.
    """
    return Query(
        "SELECT id, tenant_id, resource, scope, subject_id, window_seconds, amount,"
        " when_reached FROM limits"
        " WHERE workspace_id = %s AND archived_at IS NULL"
        " AND (tenant_id IS NULL OR tenant_id = %s)",
        (owner.workspace_id, owner.tenant_id),
    )


def applicable(
    rules: Iterable[LimitRule], subjects: Subjects, resources: Mapping[str, object]
) -> list[Window]:
    """Return the windows that bind a run of these subjects which consumes these resources.

    A tenant's own limit stands in for the workspace's of the same resource, scope, subject and
    window; with no amount it lifts it.
    """
    chosen: dict[tuple[object, ...], LimitRule] = {}
    for rule in sorted(rules, key=lambda rule: rule.tenant_id is not None):
        chosen[rule.resource, rule.scope, rule.subject_id, rule.window_seconds] = rule
    windows = []
    for rule in chosen.values():
        subject = subjects.of(rule.scope)
        if rule.resource not in resources or rule.amount is None or subject is None:
            continue
        if rule.subject_id not in (None, subject):
            continue
        own = rule.tenant_id is not None or rule.scope in ("tenant", "connection")
        windows.append(
            Window(
                limit_id=rule.id,
                subject_id=subject,
                owner_tenant=subjects.owner.tenant_id if own else None,
                workspace_id=subjects.owner.workspace_id,
                resource=rule.resource,
                scope=rule.scope,
                seconds=rule.window_seconds,
                amount=rule.amount,
                when_reached=rule.when_reached,
            )
        )
    return windows


def parse_window(text: str | int) -> int:
    """Return a window's seconds from `30d`, `12h`, `5m`, `10s` or a number of seconds."""
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", str(text))
    seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if not 1 <= seconds <= LONGEST_WINDOW:
        raise BadRequestError(
            f"window {str(text)[:40]!r} is not a duration from 1s to 30d, such as 30d, 12h or 10s.",
            data={"path": "/window"},
        )
    return seconds
