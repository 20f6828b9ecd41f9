"""What an element needs besides itself: what it stands in, what it customises, what it names."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.config.locate import Located
from runtime.config.needs import needs_of
from runtime.config.places import integrations_of
from runtime.config.rows import rows_by_keys

__all__ = ["dependencies_of"]


async def dependencies_of(session: AsyncSession, located: Located) -> list[dict[str, Any]]:
    """Return what an element needs: `{type, key, id, isMissing}` each, once."""
    effective = located.effective()
    needs = [(need.kind, need.key) for need in needs_of(effective.kind, effective.spec)]
    items = await _around(session, located)
    for kind, key in dict.fromkeys(needs):
        rows = await rows_by_keys(session, kind, [key], located.viewer)
        named = next((row.id for row in rows if row.parent_id is None), None)
        items.append(_shown(kind, key, named))
    return items


async def _around(session: AsyncSession, located: Located) -> list[dict[str, Any]]:
    """Return the integration that an element stands in, and the element that it customises."""
    items = []
    place = located.place
    if place.integration_id is not None:
        keys = await integrations_of(session, [place.integration_id])
        items.append(_shown("integration", keys[place.integration_id][0], place.integration_id))
    effective = located.effective()
    if effective.layers[-1].is_patch:
        items.append(_shown(effective.kind, effective.key, effective.id))
    return items


def _shown(kind: str, key: str, element_id: UUID | None) -> dict[str, Any]:
    known = str(element_id) if element_id is not None else None
    return {"type": kind, "key": key, "id": known, "isMissing": known is None}
