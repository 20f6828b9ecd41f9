"""What callers say about caps, what that means (which tenant, which subject), and its record."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator
from pydantic.alias_generators import to_camel

from runtime.activity.audit import audit
from runtime.api.caller import Caller
from runtime.api.services import Services
from runtime.caps.manage import SUBJECT_NAMES, CapPlace, CapScope, CapState, public_cap
from runtime.config.kinds import kind_of
from runtime.config.locate import locate
from runtime.config.places import Named, find_spot
from runtime.config.rows import Viewer
from runtime.errors import BadRequestError

__all__ = ["Amount", "CapBody", "place_of", "recorded", "refuse_move"]

#: Runs that a cap may allow, none at all among them; null is any number.
Amount = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] | None

#: What each scope's subject may be named by; without one the cap holds for each by itself.
_SUBJECTS: dict[str, tuple[str, ...]] = {
    "workspace": (),
    "tenant": ("tenant_key", "tenant_id"),
    "connection": ("connection_key", "connection_id"),
    "flows": ("connection_key", "connection_id"),
    "element": ("action_key", "action_id", "element_id"),
}
#: What tells a subject from others of its key, and says nothing alone.
_NARROWING: dict[str, tuple[str, ...]] = {
    "connection": ("tenant_key", "tenant_id"),
    "flows": ("tenant_key", "tenant_id"),
    "element": ("tenant_key", "tenant_id", "integration_key", "integration_id"),
}
_NAMES = sorted(
    {name for each in (_SUBJECTS, _NARROWING) for names in each.values() for name in names}
)

#: What a cap shows and nobody sets; a body may carry it along.
_IGNORED = frozenset({"id", "createdAt", "updatedAt", "amount"})


class CapBody(BaseModel):
    """A cap as a caller describes it."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    state: CapState = "running"
    scope: CapScope
    amount: Amount
    tenant_key: str | None = None
    tenant_id: str | None = None
    connection_key: str | None = None
    connection_id: str | None = None
    action_key: str | None = None
    action_id: str | None = None
    element_id: str | None = None
    integration_key: str | None = None
    integration_id: str | None = None

    @model_validator(mode="after")
    def _fits_its_scope(self) -> Self:
        if self.state == "queued" and self.scope != "tenant":
            raise ValueError("how many runs may wait is capped for tenants only")
        subjects, narrowing = _SUBJECTS[self.scope], _NARROWING.get(self.scope, ())
        given = [name for name in _NAMES if getattr(self, name) is not None]
        for name in given:
            if name not in subjects + narrowing:
                raise ValueError(f"a cap of the scope {self.scope} is not about {to_camel(name)}")
        if given and not set(given) & set(subjects):
            wanted = " or ".join(map(to_camel, subjects))
            raise ValueError(f"{to_camel(given[0])} only tells which; name one by {wanted}")
        return self

    @property
    def named(self) -> Named:
        """Return what has to be looked up."""
        return Named(
            integration=self.integration_id or self.integration_key,
            connection=self.connection_id or self.connection_key,
            tenant=self.tenant_id or self.tenant_key,
        )


async def place_of(services: Services, caller: Caller, body: CapBody) -> CapPlace:
    """Return where a cap stands.

    A cap on one tenant's connection or element is that tenant's own, so that no other tenant sees
    it. Raises NotFoundError for what is not there, and BadRequestError for what cannot be counted.
    """
    viewer = Viewer(caller.workspace_id, caller.tenant_id)
    async with services.database.session(caller.scope) as session:
        spot = await find_spot(session, viewer, body.named)
        action = body.action_id or body.element_id or body.action_key
        if action is None:
            subject = spot.place.connection_id if spot.place is not None else None
            return CapPlace(body.state, body.scope, spot.viewer.tenant_id, subject)
        located = await locate(session, kind_of("action"), action, viewer, body.named)
        element = located.row(located.effective().id)
    if body.named.tenant is not None and element.tenant_id is None:
        raise BadRequestError(
            "This element is not the tenant's own, and a cap on it counts the runs of all tenants:"
            " leave the tenant out.",
            data={"path": "/tenantId" if body.tenant_id else "/tenantKey"},
        )
    return CapPlace(body.state, body.scope, element.tenant_id, element.id)


def refuse_move(body: dict[str, Any], shown: dict[str, Any]) -> None:
    """Raise BadRequestError, naming the path, if a body says that a cap stands elsewhere."""
    for name, value in body.items():
        if name in _IGNORED or (name in shown and value == shown[name]):
            continue
        message = "a cap stays where it stands; delete it and make another"
        raise BadRequestError(
            f"The cap is not valid: /{name[:60]}: {message}",
            data={"errors": [{"path": f"/{name[:60]}", "message": message}]},
        )


async def recorded(
    connection: AsyncConnection[DictRow], caller: Caller, row: DictRow, tag: str
) -> None:
    """Put on record what was done to a cap."""
    shown = public_cap(row)
    subject: UUID | None = row["subject_id"]
    await audit(
        connection,
        workspace_id=caller.workspace_id,
        tenant_id=row["tenant_id"],
        actor=caller.actor,
        tag=tag,
        target_kind="cap",
        target_id=row["id"],
        target_key=None,
        changes={name: shown[name] for name in ("state", "scope", "amount")}
        | ({} if subject is None else {SUBJECT_NAMES[row["scope"]]: str(subject)}),
    )
