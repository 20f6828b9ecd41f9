"""Types of app events: which there are, and what an event of one has to be like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.actions.operations import evaluated
from runtime.actions.schema import check_input
from runtime.config.kinds import parse_spec
from runtime.config.resolve import Place, resolve
from runtime.config.specs.events import AppEventTypeSpec
from runtime.config.store import element_by_id, layers_of
from runtime.errors import BadRequestError, InputInvalidError, NotFoundError

__all__ = ["AppEventType", "find_type"]


@dataclass(frozen=True, slots=True)
class AppEventType:
    """A live type of app event."""

    id: UUID
    key: str
    spec: AppEventTypeSpec

    def checked(self, event: Any) -> Any:
        """Return an event, with defaults; InputInvalidError if it is not of this type's shape."""
        if self.spec.schema_ is None:
            return event
        try:
            return check_input(self.spec.schema_, event)
        except InputInvalidError as invalid:
            message = invalid.message.replace("The input", "The event", 1)
            raise InputInvalidError(message, data=invalid.data) from None

    def tenant_of(self, event: Any) -> str:
        """Return the key or id of the tenant that an event belongs to. Raises BadRequestError."""
        formula = self.spec.tenant_id_formula
        if formula is None:
            formula = self.spec.user_id_formula
        if formula is None:
            raise BadRequestError(
                f"Nothing says which tenant the event belongs to: give {self.key!r} a"
                " tenantIdFormula, or name the tenant by tenantKey in the query.",
                data={"path": "/tenantIdFormula"},
            )
        seen = {**(event if isinstance(event, Mapping) else {}), "event": event, "body": event}
        named = evaluated(formula, seen, "/tenantIdFormula")
        if isinstance(named, int) and not isinstance(named, bool):
            named = str(named)
        if not isinstance(named, str) or not named:
            raise BadRequestError(
                "The tenantIdFormula found no tenant's key in the event.",
                data={"path": "/tenantIdFormula"},
            )
        return named


async def find_type(
    connection: AsyncConnection[DictRow], workspace_id: UUID, selector: str | UUID
) -> AppEventType:
    """Return a type by its id or key; NotFoundError for one that is not there or archived."""
    key = selector
    wanted = _as_id(selector)
    if wanted is not None:
        row = await element_by_id(connection, wanted)
        if row is not None and row.kind == "app-event-type":
            key = row.key
    rows = await layers_of(
        connection, kind="app-event-type", key=str(key), owner=(workspace_id, None)
    )
    found = resolve(rows, Place())
    if found is None:
        raise NotFoundError(f"There is no type of app event {str(selector)[:100]!r}.")
    spec = parse_spec("app-event-type", found.spec, f"app event type {found.key}")
    return AppEventType(found.id, found.key, spec)


def _as_id(selector: str | UUID) -> UUID | None:
    try:
        return selector if isinstance(selector, UUID) else UUID(selector)
    except ValueError:
        return None
