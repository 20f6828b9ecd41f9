"""Lists of instances, by what they are of, where they stand and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.api.caller import Caller
from runtime.api.element_record import (
    Keys,
    effective_record,
    integrations_in,
    known_needs,
    stored_record,
)
from runtime.api.element_writes import Record, viewer_of
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, instance_of, named, parent_names
from runtime.api.services import Services
from runtime.config.element_keys import as_uuid
from runtime.config.instances import InstanceFilters, list_instances
from runtime.config.kinds import Kind
from runtime.config.locate import Located
from runtime.config.needs import Known
from runtime.config.places import find_spot, integrations_of
from runtime.config.rows import Viewer, row_by_id
from runtime.errors import ConfigurationError

__all__ = ["list_of_instances"]


async def list_of_instances(
    services: Services, caller: Caller, kind: Kind, query: Mapping[str, str]
) -> dict[str, Any]:
    """Return `{items, cursor?}` for the filters of a query; it ignores those it does not know."""
    viewer = viewer_of(caller)
    pager = Pager.of(services.root, caller, f"{kind.singular}-instances")
    async with services.database.session(caller.scope) as session:
        spot = await find_spot(session, viewer, named(query))
        filters = InstanceFilters(
            place=spot.place,
            instance_key=instance_of(query),
            search=query.get("search", "")[:200] or None,
            include_archived=flag(query, "includeArchived"),
            after=pager.after(query),
            limit=limit_of(query),
        )
        narrowed = await _of_parent(session, kind, query, filters)
        if narrowed is None:
            return {"items": []}
        page, after = await list_instances(session, kind, spot.viewer, narrowed)
        keys = await integrations_of(session, integrations_in(*page))
        known = {
            owner: await known_needs(session, owner, [one for one in page if one.viewer == owner])
            for owner in dict.fromkeys(one.viewer for one in page)
        }
        records = [_record(each, viewer, keys, known[each.viewer]) for each in page]
    if "enabled" in query:
        wanted = flag(query, "enabled")
        records = [each for each in records if each.get("enabled", True) == wanted]
    answer: dict[str, Any] = {"items": records}
    if after is not None:
        answer["cursor"] = pager.cursor(after)
    return answer


async def _of_parent(
    session: AsyncSession, kind: Kind, query: Mapping[str, str], filters: InstanceFilters
) -> InstanceFilters | None:
    """Return the filters narrowed to one element's instances; None for one that there is not."""
    selector = next((query[name] for name in parent_names(kind) if name in query), None)
    if selector is None:
        return filters
    element_id = as_uuid(selector)
    if element_id is None:
        return replace(filters, key=selector)
    row = await row_by_id(session, kind.name, element_id)
    if row is None:
        return None
    return replace(filters, key=row.key, parent_integration=row.integration_id)


def _record(located: Located, viewer: Viewer, keys: Keys, known: Known) -> Record:
    try:
        return effective_record(located, viewer, keys, known)
    except ConfigurationError as broken:
        # Its parent is archived. It is shown as it is stored, and says what is wrong with it.
        shown = stored_record(located, located.rows[-1], viewer, keys)
        fault = {"path": "/", "message": broken.message}
        return {**shown, "state": "CONFIGURATION_ERROR", "errors": [fault]}
