"""The effective element: which layers apply at one place, and what they amount to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from runtime.config.merge import LAYERS, LayerSpec, merge_layers
from runtime.config.store import ElementRow

__all__ = ["Place", "Resolved", "applies", "resolve"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element is looked at from: a connection, an integration, or neither."""

    integration_id: UUID | None = None
    #: Key of the integration's connector.
    app: str | None = None
    connection_id: UUID | None = None
    #: Which of the connection's instances of an element; None for the first one.
    instance_key: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """An element as it is in force at one place."""

    kind: str
    key: str
    #: The row of the whole definition that the customisations stand on.
    id: UUID
    #: Changes whenever any of the layers does.
    revision: str
    spec: dict[str, Any]
    #: JSON pointer of each leaf -> the layer that it came from; empty unless asked for.
    origin: dict[str, str] = field(default_factory=dict)
    layers: tuple[ElementRow, ...] = ()


def applies(row: ElementRow, place: Place) -> bool:
    """Return whether a row has a say at this place; a row that names nothing has it everywhere.

    But for the instances of one connection: what one of them customises is no other one's business.
    """
    return (
        row.app in (None, place.app)
        and row.integration_id in (None, place.integration_id)
        and row.connection_id in (None, place.connection_id)
        and (row.instance_key == place.instance_key or _serves_all_instances(row))
    )


def resolve(rows: Iterable[ElementRow], place: Place, *, explain: bool = False) -> Resolved | None:
    """Merge the rows of one kind and key that apply at a place; None if none of them does.

    Raises ConfigurationError when a customisation is left without anything to customise.
    """
    layers = sorted((row for row in rows if applies(row, place)), key=_nearness)
    if not layers:
        return None
    effective = merge_layers(
        [LayerSpec(row.layer, row.id, row.revision, row.spec, row.is_patch) for row in layers],
        explain=explain,
    )
    base = next(row for row in reversed(layers) if not row.is_patch)
    return Resolved(
        kind=base.kind,
        key=base.key,
        id=base.id,
        revision=_revision(layers),
        spec=effective.spec,
        origin=effective.origin,
        layers=tuple(layers),
    )


def _serves_all_instances(row: ElementRow) -> bool:
    return row.instance_key is None and not (row.is_patch and row.connection_id is not None)


def _nearness(row: ElementRow) -> tuple[int, bool, bool, bool]:
    # Within a layer, a row for one app, integration or instance is nearer than one for any.
    return (
        LAYERS.index(row.layer),
        row.app is not None,
        row.integration_id is not None,
        row.instance_key is not None,
    )


def _revision(layers: Sequence[ElementRow]) -> str:
    text = ",".join(f"{row.id}:{row.revision}" for row in layers)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
