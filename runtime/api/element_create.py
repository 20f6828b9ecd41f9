"""New elements: where one stands, what its key is, and whether it may be there."""

from __future__ import annotations

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.validate import check_spec
from runtime.api.caller import Caller
from runtime.api.element_record import without_envelope
from runtime.api.element_writes import (
    Record,
    editable_paths,
    narrowed_paths,
    settle,
    viewer_of,
    with_secrets,
)
from runtime.api.integration_parameters import Divided, divide
from runtime.api.selectors import parent_names
from runtime.api.services import Services
from runtime.config.element_keys import check_instance_key, check_key, key_from_name
from runtime.config.kinds import Kind
from runtime.config.locate import Located, locate
from runtime.config.places import Named, Spot, find_spot
from runtime.config.resolve import Place
from runtime.config.rows import rows_by_keys
from runtime.config.target import Target, own_row, target_of
from runtime.config.write import Edit, change, create, lock
from runtime.errors import AccessDeniedError, AlreadyExistsError, BadRequestError

__all__ = ["create_element"]

#: What a body says of where the element stands.
_PLACE = (
    *("integrationId", "integrationKey", "connectionId", "connectionKey", "tenantId"),
    *("userId", "instanceKey"),
)


async def create_element(
    services: Services, caller: Caller, kind: Kind, named: Named, body: dict[str, Any]
) -> Record:
    """Add a whole definition, or with `parentId` a customisation, and return the element.

    `named` is what the path and the query say; the body may say where the element stands too.
    """
    named = _placed(body, named)
    named_as = parent_names(kind)[:-1]
    parent = next((_text(body, name) for name in named_as if _text(body, name)), None)
    body = {name: value for name, value in body.items() if name not in named_as}
    _check_universal(body.pop("isUniversal", None), named)
    async with services.database.session(caller.scope) as session:
        if parent is None:
            record = await _define(services, session, caller, kind, named, body)
        else:
            record = await _customise(session, caller, kind, named, parent, body)
    services.changed(caller.workspace_id)
    return record


async def _define(
    services: Services,
    session: AsyncSession,
    caller: Caller,
    kind: Kind,
    named: Named,
    body: dict[str, Any],
) -> Record:
    viewer = viewer_of(caller)
    spot = await find_spot(session, viewer, named)
    place = spot.place or Place(instance_key=named.instance)
    target = target_of(kind, viewer, spot.viewer, place)
    _refuse_instance_alone(kind, target)
    key = _key(kind, body)
    document = without_envelope(kind, _without(body, _PLACE), {"key": key})
    divided = Divided(document)
    if kind.name == "integration":
        divided = await divide(session, caller.workspace_id, document, None)
    await _refuse_shadow(session, caller, kind, spot, key)
    await lock(session, kind, key, target)
    done = await create(session, kind, target, key, divided.document, check_spec)
    if divided.secrets:
        done = await with_secrets(services, session, caller, done, divided)
    return await settle(session, caller, Located(kind, key, spot.viewer, place, ()), done)


async def _customise(
    session: AsyncSession,
    caller: Caller,
    kind: Kind,
    named: Named,
    parent: str,
    body: dict[str, Any],
) -> Record:
    viewer = viewer_of(caller)
    located = await locate(session, kind, parent, viewer, named)
    target = target_of(kind, viewer, located.viewer, located.place)
    await lock(session, kind, located.key, target)
    located = await locate(session, kind, parent, viewer, named)
    if own_row(located, target) is not None:
        raise AlreadyExistsError(
            f"{located.key} has a definition or customisation at the {target.layer} layer already;"
            " patch it.",
            data={"layer": target.layer},
        )
    document = without_envelope(kind, _without(body, _PLACE), {"key": located.key})
    edit = Edit(document, replaces=False, allowed=await editable_paths(session, kind, caller))
    done = await change(session, located, target, edit, check_spec)
    return await settle(session, caller, located, done)


async def _refuse_shadow(
    session: AsyncSession, caller: Caller, kind: Kind, spot: Spot, key: str
) -> None:
    """Where the workspace narrows what tenants customise, they do not replace the whole either."""
    if caller.is_manager:
        return
    # A connector that tenants could put in another's place would be given its secrets.
    if kind.name != "connector" and await narrowed_paths(session, kind, caller) is None:
        return
    rows = await rows_by_keys(session, kind.name, [key], spot.viewer)
    if any(row.tenant_id is None for row in rows):
        raise AccessDeniedError(
            f"There is {kind.singular} {key!r} above this token's layer, and what may differ from"
            " it is limited. Customise it, or choose another key.",
            data={"errors": [{"path": "/key", "message": "is taken above"}]},
        )


def _placed(body: dict[str, Any], named: Named) -> Named:
    """Return where the body says that the element stands; the path and the query win."""
    integration = _text(body, "integrationId") or _text(body, "integrationKey")
    connection = _text(body, "connectionId") or _text(body, "connectionKey")
    return Named(
        named.integration or integration,
        named.connection or connection,
        named.tenant or _text(body, "tenantId") or _text(body, "userId"),
        named.instance or _instance_key(body),
    )


def _check_universal(said: Any, named: Named) -> None:
    """Where an element stands tells whether it is universal; a body may say so too."""
    stands = named.integration is None and named.connection is None
    if said is not None and said != stands:
        raise BadRequestError(
            "An element is universal if it stands in no integration and at no connection.",
            data={"errors": [{"path": "/isUniversal", "message": "is not so here"}]},
        )


def _instance_key(body: dict[str, Any]) -> str | None:
    key = _text(body, "instanceKey")
    return None if key is None else check_instance_key(key)


def _refuse_instance_alone(kind: Kind, target: Target) -> None:
    """Some kinds have instances at a layer at which nothing is defined."""
    if target.layer not in kind.layers:
        raise AccessDeniedError(
            f"At the {target.layer} layer there are only instances of {kind.plural}; name in"
            " parentId the one that this shall be of.",
            data={"layer": target.layer},
        )


def _key(kind: Kind, body: dict[str, Any]) -> str:
    if body.get("key") is not None:
        return check_key(body["key"])
    name = body.get("name")
    if name is None:
        name = body.get({"integration": "connectorKey", "screen": "type"}.get(kind.name, ""))
    if not isinstance(name, str) or not name:
        raise BadRequestError(
            f"Give the {kind.singular} a key, or a name to make one from.",
            data={"errors": [{"path": "/key", "message": "is missing"}]},
        )
    return key_from_name(name[:1000], kind.name)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or "\x00" in value:
        raise BadRequestError(
            f"{name} is a text.", data={"errors": [{"path": f"/{name}", "message": "is no text"}]}
        )
    return value


def _without(body: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}
