"""Lists of elements: effective ones for the caller, or rows as they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.api.caller import Caller
from runtime.api.element_record import (
    effective_record,
    integrations_in,
    known_needs,
    stored_record,
)
from runtime.api.element_writes import viewer_of
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, layers_of, named, parent_names
from runtime.api.services import Services
from runtime.config.element_keys import as_uuid
from runtime.config.intent import LONGEST_INTENT, by_intent
from runtime.config.kinds import Kind
from runtime.config.needs import Known
from runtime.config.places import Spot, connectors_for, find_spot, integrations_of
from runtime.config.read import Filters, Page, list_effective, list_rows
from runtime.config.rows import row_by_id
from runtime.errors import BadRequestError

__all__ = ["list_elements"]

#: Records of 0.1 ms each that are made before others get a turn on the event loop.
_SLICE = 50
#: Where children of universal elements stand.
_BELOW = ("integration", "tenant", "connection")
_TENANTS_LAYERS = frozenset({"tenant", "connection"})


async def list_elements(
    services: Services, caller: Caller, kind: Kind, query: Mapping[str, str]
) -> dict[str, Any]:
    """Return `{items, cursor?}` for the filters of a query; it ignores those that it does not know.

    `layer`, `tenantId` and `parentId` ask for stored rows, customisations among them; everything
    else for effective elements.
    """
    viewer = viewer_of(caller)
    pager = Pager.of(services.root, caller, kind.plural)
    async with services.database.session(caller.scope) as session:
        spot = await find_spot(session, viewer, named(query))
        filters = _filters(query, kind, spot, pager)
        if (parent := await _universal_parent(session, kind, query)) is not None:
            filters = replace(filters, key=parent, layers=filters.layers or _BELOW)
        if app := query.get("externalAppId") or query.get("externalAppKey"):
            filters = replace(filters, apps=await connectors_for(session, viewer, app))
        if "intent" in query:
            items = await _by_intent(session, caller, kind, spot, (query["intent"], filters))
            return {"items": items}
        if filters.is_own or filters.layers or filters.parent_id is not None:
            page = await list_rows(session, kind, spot.viewer, filters)
            show = "stored"
        else:
            page = await list_effective(session, kind, spot.viewer, filters)
            show = "effective"
        items = await _records(session, caller, page, show)
    answer: dict[str, Any] = {"items": items}
    if page.after is not None:
        answer["cursor"] = pager.cursor(page.after)
    return answer


async def _by_intent(
    session: AsyncSession, caller: Caller, kind: Kind, spot: Spot, wanted: tuple[str, Filters]
) -> list[dict[str, Any]]:
    """Return the elements that fit an intent best; there is no second page."""
    intent, filters = wanted
    if len(intent) > LONGEST_INTENT:
        raise BadRequestError(
            f"intent has at most {LONGEST_INTENT} characters.",
            data={"errors": [{"path": "/intent", "message": "is too long"}]},
        )
    ids = await by_intent(session, kind, spot.viewer, intent, filters.limit)
    page = await list_effective(session, kind, spot.viewer, replace(filters, ids=ids))
    order = {element_id: at for at, element_id in enumerate(ids)}
    ranked = sorted(page.items, key=lambda each: order[each.effective().id])
    return await _records(session, caller, Page(ranked, None), "effective")


async def _records(
    session: AsyncSession, caller: Caller, page: Page, show: str
) -> list[dict[str, Any]]:
    viewer = viewer_of(caller)
    keys = await integrations_of(session, integrations_in(*page.items))
    known: Known = frozenset()
    if show == "effective" and page.items:
        known = await known_needs(session, page.items[0].viewer, page.items)
    records = []
    for at, each in enumerate(page.items):
        if at % _SLICE == 0:
            await asyncio.sleep(0)
        if show == "effective":
            records.append(effective_record(each, viewer, keys, known))
        else:
            records.append(stored_record(each, each.rows[0], viewer, keys))
    return records


def _filters(query: Mapping[str, str], kind: Kind, spot: Spot, pager: Pager) -> Filters:
    layers = layers_of(query)
    if _TENANTS_LAYERS.issuperset(layers) and layers and spot.viewer.tenant_id is None:
        raise BadRequestError(
            "Rows at the tenant and connection layers are listed for one tenant: give tenantId or"
            " connectionId.",
            data={"errors": [{"path": "/tenantId", "message": "is missing"}]},
        )
    # Kinds that stand at no integration are not narrowed by one.
    place = spot.place if "integration" in kind.layers else None
    universal = flag(query, "isUniversal") if "isUniversal" in query else None
    return Filters(
        search=query.get("search", "")[:200] or None,
        key=query.get("key"),
        include_archived=flag(query, "includeArchived"),
        place=place,
        is_universal=universal,
        after=pager.after(query),
        limit=limit_of(query),
        layers=layers,
        parent_id=next((_id(query, name) for name in _parents(kind) if name in query), None),
        is_own=bool({"tenantId", "tenantKey", "userId"} & query.keys()),
    )


def _parents(kind: Kind) -> list[str]:
    """Return the filters by which a list is narrowed to what customises one row."""
    return ["parentId", parent_names(kind)[0]]


async def _universal_parent(
    session: AsyncSession, kind: Kind, query: Mapping[str, str]
) -> str | None:
    """Return the key of the universal element to whose children a list is narrowed, if it is."""
    names = ("universalParentId", parent_names(kind)[2])
    element_id = next((_id(query, name) for name in names if name in query), None)
    if element_id is None:
        return None
    row = await row_by_id(session, kind.name, element_id)
    return row.key if row is not None else ""


def _id(query: Mapping[str, str], name: str) -> Any:
    text = query.get(name)
    if text is None:
        return None
    found = as_uuid(text)
    if found is None:
        raise BadRequestError(
            f"{name} is an id.", data={"errors": [{"path": f"/{name}", "message": "is no id"}]}
        )
    return found
