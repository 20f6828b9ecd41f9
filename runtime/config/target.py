"""The layer that a caller's writes go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from models import Element
from runtime.config.kinds import Kind
from runtime.config.locate import Located
from runtime.config.resolve import Place
from runtime.config.rows import Viewer
from runtime.errors import AccessDeniedError

__all__ = ["Target", "layers_below", "own_row", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a caller's row of an element stands."""

    layer: str
    workspace_id: UUID
    tenant_id: UUID | None = None
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    instance_key: str | None = None

    def holds(self, row: Element) -> bool:
        """Return whether a row stands here."""
        return (
            row.layer == self.layer
            and row.tenant_id == self.tenant_id
            and row.integration_id == self.integration_id
            and row.connection_id == self.connection_id
            and row.instance_key == self.instance_key
        )


def target_of(kind: Kind, caller: Viewer, seen_by: Viewer, place: Place) -> Target:
    """Return where a caller writes what it looks at from a place.

    A tenant writes at its own layer, or at its connection's; a manager at the workspace's, or at
    the integration's. Raises AccessDeniedError where the caller has no layer.
    """
    if caller.tenant_id is None:
        if seen_by.tenant_id is not None:
            raise AccessDeniedError(
                f"This {kind.singular} is looked at as a tenant has it, and only that tenant's own"
                " token may change it."
            )
        layer = "integration" if place.integration_id else "workspace"
        target = Target(layer, caller.workspace_id, None, place.integration_id)
    else:
        layer = "connection" if place.connection_id else "tenant"
        target = Target(
            layer,
            caller.workspace_id,
            caller.tenant_id,
            place.integration_id,
            place.connection_id,
            place.instance_key,
        )
    if not kind.stands_at(layer):
        who = "A tenant's token" if caller.tenant_id else "A management token"
        raise AccessDeniedError(
            f"{who} cannot write {kind.plural} at the {layer} layer; they stand at:"
            f" {', '.join(sorted(kind.layers))}.",
            data={"layer": layer},
        )
    return target


def own_row(located: Located, target: Target) -> Element | None:
    """Return the caller's own row among those that have a say, the nearest if there are two."""
    nearest_first = reversed(located.effective().layers)
    rows = (located.row(layer.id) for layer in nearest_first)
    return next((row for row in rows if target.holds(row)), None)


def layers_below(located: Located, own: Element | None) -> Sequence[Element]:
    """Return the rows that the caller's own one stands on, far to near."""
    layers = located.effective().layers
    return [located.row(layer.id) for layer in layers if own is None or layer.id != own.id]
