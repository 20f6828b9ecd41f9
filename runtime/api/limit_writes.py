"""What callers say about limits, what that means (which tenant, which subject), and its record."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    model_validator,
)
from pydantic.alias_generators import to_camel

from runtime.activity.audit import audit
from runtime.api.caller import Caller
from runtime.api.services import Services
from runtime.config.kinds import kind_of
from runtime.config.locate import locate
from runtime.config.places import Named, find_spot
from runtime.config.rows import Viewer
from runtime.credits.limits import LimitScope, WhenReached, parse_window
from runtime.credits.manage import ALERT_AT, LimitPlace, find_limit, public_limit
from runtime.errors import BadRequestError

__all__ = ["AlertAt", "Amount", "LimitBody", "amount_of", "place_of", "recorded", "refuse_move"]

#: Units that a limit may allow; null is unlimited.
Amount = Annotated[StrictInt | StrictFloat, Field(ge=0, le=1e15, allow_inf_nan=False)] | None

#: Parts of a limit at which an alert is raised; none for no alerts.
AlertAt = Annotated[
    list[Annotated[StrictInt | StrictFloat, Field(gt=0, le=1)]],
    Field(max_length=5),
    AfterValidator(lambda parts: sorted(set(parts))),
]

#: What each scope's subject may be named by; without one the limit counts for each by itself.
_SUBJECTS: dict[str, tuple[str, ...]] = {
    "integration": ("integration_key", "integration_id"),
    "connection": ("connection_key", "connection_id"),
    "element": ("action_key", "action_id", "element_id", "integration_key", "integration_id"),
}
_NAMES = sorted({name for names in _SUBJECTS.values() for name in names})

#: What a limit shows and nobody sets; a body may carry it along.
_IGNORED = frozenset(
    {"id", "createdAt", "updatedAt", "archivedAt", "limit", "whenReached", "alertAt"}
)
#: What the audit trail keeps of a limit.
_RECORDED = ("resource", "scope", "window", "limit", "whenReached", "alertAt")


class LimitBody(BaseModel):
    """A limit as a caller describes it."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    # It stands in the RateLimit header too, so it is as plain as a name can be.
    resource: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")
    scope: LimitScope
    window: str | int = "30d"
    limit: Amount
    #: Whether a run that does not fit is refused with 429, or waits until it fits.
    when_reached: WhenReached = "refuse"
    alert_at: AlertAt = Field(default_factory=lambda: list(ALERT_AT))
    tenant_key: str | None = None
    tenant_id: str | None = None
    integration_key: str | None = None
    integration_id: str | None = None
    connection_key: str | None = None
    connection_id: str | None = None
    action_key: str | None = None
    action_id: str | None = None
    element_id: str | None = None

    @model_validator(mode="after")
    def _fits_its_scope(self) -> Self:
        allowed = _SUBJECTS.get(self.scope, ())
        for name in _NAMES:
            if getattr(self, name) is not None and name not in allowed:
                message = f"a limit of the scope {self.scope} is not about {to_camel(name)}"
                raise ValueError(message)
        return self

    @property
    def tenant(self) -> str | None:
        """Return the tenant whose own limit it is."""
        return self.tenant_id or self.tenant_key

    @property
    def named(self) -> Named:
        """Return what has to be looked up."""
        return Named(
            integration=self.integration_id or self.integration_key,
            connection=self.connection_id or self.connection_key,
            tenant=self.tenant,
        )


def amount_of(limit: float | None) -> Decimal | None:
    """Return how much a limit allows, exactly as it was written."""
    return None if limit is None else Decimal(str(limit))


async def place_of(services: Services, caller: Caller, body: LimitBody) -> LimitPlace:
    """Return where a limit stands.

    A limit on one tenant's connection or element is that tenant's own, so that no other tenant sees
    it. Raises NotFoundError for what is not there, and BadRequestError for a bad window.
    """
    seconds = parse_window(body.window)
    viewer = Viewer(caller.workspace_id, caller.tenant_id)
    subject_id: UUID | None = None
    async with services.database.session(caller.scope) as session:
        spot = await find_spot(session, viewer, body.named)
        tenant_id = spot.viewer.tenant_id
        action = body.action_id or body.element_id or body.action_key
        if action is not None:
            located = await locate(session, kind_of("action"), action, viewer, body.named)
            subject_id = located.effective().id
            tenant_id = tenant_id or located.row(subject_id).tenant_id
        elif body.scope == "connection" and spot.place is not None:
            subject_id = spot.place.connection_id
        elif body.scope == "integration" and spot.place is not None:
            subject_id = spot.place.integration_id
    return LimitPlace(body.resource, body.scope, seconds, tenant_id, subject_id)


def refuse_move(body: dict[str, Any], shown: dict[str, Any]) -> None:
    """Raise BadRequestError, naming the path, if a body says that a limit stands elsewhere."""
    for name, value in body.items():
        if name in _IGNORED or (name in shown and value == shown[name]):
            continue
        if name == "window" and parse_window(str(value)) == shown["windowSeconds"]:
            continue
        message = "a limit stays where it stands; archive it and make another"
        raise BadRequestError(
            f"The limit is not valid: /{name[:60]}: {message}",
            data={"errors": [{"path": f"/{name[:60]}", "message": message}]},
        )


async def recorded(
    connection: AsyncConnection[DictRow], caller: Caller, limit_id: UUID, tag: str
) -> DictRow:
    """Return a limit as it stands after a change, which is put on record."""
    row = await find_limit(connection, caller.scope, limit_id)
    shown = public_limit(row)
    await audit(
        connection,
        workspace_id=caller.workspace_id,
        tenant_id=row["tenant_id"],
        actor=caller.actor,
        tag=tag,
        target_kind="limit",
        target_id=row["id"],
        target_key=row["resource"],
        changes={name: shown[name] for name in _RECORDED},
    )
    return row
