"""An element as the API shows it: its specification, and beside it what Vesicle knows about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.actions.validate import check_spec
from runtime.config.kinds import Kind
from runtime.config.locate import Located
from runtime.config.needs import Known, Need, faults_of_needs, known_of, needs_of
from runtime.config.rows import Viewer, as_layer
from runtime.config.store import ElementRow
from runtime.config.target import target_of
from runtime.errors import AccessDeniedError, BadRequestError, ConfigurationError, VesicleError

__all__ = [
    "FIXED",
    "Keys",
    "effective_record",
    "integrations_in",
    "known_needs",
    "stored_record",
    "without_envelope",
]

#: What only Vesicle writes; a record that was read may be sent back with it.
_READ_ONLY = frozenset(
    {
        *("id", "uuid", "revision", "layer", "layers", "explain", "isCustomized", "isReadOnly"),
        *("outputSchema", "defaultOutputSchema", "transformedOutputSchema"),
        *("connector", "state", "errors", "createdAt", "updatedAt", "archivedAt"),
        *("webhookKey", "globalWebhookUri"),  # of types of app events
        "customized",
    }
)
#: What says where an element stands, and is decided when it is made.
FIXED = (
    *("key", "integrationId", "integrationKey", "connectionId", "tenantId", "userId"),
    *("instanceKey", "parentId"),
)

#: Kind and revision -> `{state, errors}`: a revision never comes again with other contents. To look
#: at an action anew takes 0.2 ms, half of what it takes to list it.
_states: dict[tuple[str, str], dict[str, Any]] = {}
_MOST_STATES = 20_000

Keys = Mapping[UUID, tuple[str, str | None]]


async def known_needs(session: AsyncSession, viewer: Viewer, elements: Iterable[Located]) -> Known:
    """Return which of the elements are there that these ones need."""
    needs = [need for each in elements for need in _needs(each)]
    return await known_of(session, viewer, needs)


def effective_record(
    located: Located, caller: Viewer, keys: Keys, known: Known, *, explain: bool = False
) -> dict[str, Any]:
    """Return the element that is in force, or the stored row if it is archived.

    `keys` has the integrations' keys, `known` what is there of what the element needs. With
    `explain`, the record says which layer each value came from, and holds every layer as stored.
    """
    if located.is_archived:
        return stored_record(located, located.rows[0], caller, keys)
    found = located.effective(explain=explain)
    rows = [located.row(layer.id) for layer in found.layers]
    nearest = rows[-1]
    # An instance is known by its own id; its parent's stands beside it.
    is_instance = nearest.layer == located.kind.instances
    itself = nearest if is_instance else located.row(found.id)
    record = {
        **found.spec,
        **_place(nearest, keys),
        **(_parents(located, rows) if is_instance else {}),
        "id": str(itself.id),
        "key": found.key,
        "revision": found.revision,
        "isCustomized": any(_adapts(located.kind, layer) for layer in found.layers),
        "isReadOnly": _is_read_only(located, caller),
        **_with_needs(
            _state(located.kind, found.spec, found.key, found.revision),
            list(needs_of(found.kind, found.spec)),
            known,
        ),
        "createdAt": itself.created_at,
        "updatedAt": max(row.updated_at for row in rows),
        "archivedAt": None,
    }
    if explain:
        record["explain"] = found.origin
        record["layers"] = [
            {
                "layer": layer.layer,
                "id": str(layer.id),
                "revision": layer.revision,
                "isPatch": layer.is_patch,
                "spec": layer.spec,
            }
            for layer in found.layers
        ]
    return record


def stored_record(located: Located, row: Element, caller: Viewer, keys: Keys) -> dict[str, Any]:
    """Return one row as it is stored: for a customisation, its merge patch."""
    is_patch = row.parent_id is not None
    state: dict[str, Any] = {"state": "READY", "errors": []}
    if not is_patch:
        state = _state(located.kind, row.spec, row.key, f"{row.id}:{row.revision}")
    return {
        **row.spec,
        **_place(row, keys),
        "id": str(row.id),
        "key": row.key,
        "revision": row.revision,
        "isCustomized": _adapts(located.kind, as_layer(row)),
        "isReadOnly": _is_read_only(located, caller) or row.tenant_id != caller.tenant_id,
        **(
            state
            if is_patch
            else _state(located.kind, row.spec, row.key, f"{row.id}:{row.revision}")
        ),
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "archivedAt": row.archived_at,
    }


def integrations_in(*located: Located) -> set[UUID]:
    """Return the integrations whose keys the records of these elements show."""
    return {row.integration_id for each in located for row in each.rows if row.integration_id}


def without_envelope(
    kind: Kind, body: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a body without what is no part of the specification.

    Raises BadRequestError for another key or place than the record's: these cannot be changed.
    """
    # An integration's connector is part of its specification; elsewhere it is a place.
    fixed = (*FIXED, "connectorKey") if "integration" in kind.layers else FIXED
    for name in fixed:
        if body.get(name) not in (None, record.get(name)):
            raise BadRequestError(
                f"The {name} of {kind.singular} {record['key']!r} cannot be changed.",
                data={"errors": [{"path": f"/{name}", "message": "cannot be changed"}]},
            )
    apart = {*_READ_ONLY, *fixed, *_parent_names(kind)}
    return {name: value for name, value in body.items() if name not in apart}


def _place(row: Element, keys: Keys) -> dict[str, Any]:
    integration = keys.get(row.integration_id) if row.integration_id else None
    return {
        "layer": row.layer,
        "integrationId": _text(row.integration_id),
        "integrationKey": integration[0] if integration else None,
        "connectionId": _text(row.connection_id),
        "tenantId": _text(row.tenant_id),
        "userId": _text(row.tenant_id),
        "instanceKey": row.instance_key,
        "parentId": _text(row.parent_id),
        **({"connectorKey": row.app} if row.app else {}),
    }


def _adapts(kind: Kind, row: ElementRow) -> bool:
    """Return whether a row is a customisation that says more than whether it is switched on."""
    switches = kind.switches if row.layer == kind.instances else frozenset()
    return row.is_patch and bool(row.spec.keys() - switches)


def _parents(located: Located, rows: Sequence[Element]) -> dict[str, Any]:
    """Return what an instance is an instance of, by the contract's names: `flowId` and so on."""
    definition = located.row(located.effective().id)
    universal = next((row for row in rows if row.integration_id is None and row.app is None), None)
    ids = (definition.id, universal.id if universal is not None else None)
    values = (*map(_text, ids), str(definition.revision))
    return dict(zip(_parent_names(located.kind), values, strict=True))


def _parent_names(kind: Kind) -> tuple[str, ...]:
    if kind.instances is None:
        return ()
    name = kind.name.title().replace("-", "")
    return f"{name[0].lower()}{name[1:]}Id", f"universal{name}Id", "parentRevision"


def _state(kind: Kind, spec: dict[str, Any], key: str, revision: str) -> dict[str, Any]:
    """Return whether a specification can be used; that is found out once for each revision."""
    known = _states.get((kind.name, revision))
    if known is None:
        known = _examined(kind, spec, key)
        if len(_states) >= _MOST_STATES:
            _states.clear()
        _states[(kind.name, revision)] = known
    return known


def _examined(kind: Kind, spec: dict[str, Any], key: str) -> dict[str, Any]:
    try:
        check_spec(kind.name, spec, f"The {kind.singular} {key}")
    except ConfigurationError as invalid:
        errors = invalid.data.get("errors") or [{"path": "/", "message": invalid.message}]
        return {"state": "CONFIGURATION_ERROR", "errors": errors}
    return {"state": "READY", "errors": []}


def _with_needs(state: dict[str, Any], needs: Sequence[Need], known: Known) -> dict[str, Any]:
    """Return a state to which is added what the element needs and there is not."""
    faults = faults_of_needs(needs, known) if needs else []
    if not faults:
        return state
    return {"state": "CONFIGURATION_ERROR", "errors": [*state["errors"], *faults]}


def _needs(located: Located) -> Iterator[Need]:
    if located.is_archived:
        return
    try:
        found = located.effective()
    except VesicleError:  # whoever shows it says so
        return
    yield from needs_of(found.kind, found.spec)


def _is_read_only(located: Located, caller: Viewer) -> bool:
    try:
        target_of(located.kind, caller, located.viewer, located.place)
    except AccessDeniedError:
        return True
    return False


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
