"""A workspace's own elements as data: what its managers wrote, and nothing of its tenants'.

That is every definition and customisation at the workspace and integration layers. Sealed values,
such as an integration's client secret, are no part of a specification and so of no export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import and_, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.kinds import KINDS

__all__ = ["Exported", "export_page", "rank"]

#: Bytes of specifications on one page, beyond which it ends early.
_LARGEST_PAGE = 4_000_000
#: Rows that are fetched at once; each may have a megabyte.
_FETCHED = 20
#: What others stand on, in this order; the other kinds follow in the order of their table.
_FOUNDATIONS = ("external-app", "connector", "integration")


@dataclass(frozen=True, slots=True)
class Exported:
    """One row, named as another workspace could name it."""

    row: Element
    integration_key: str | None

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it, and as an import takes it."""
        row = self.row
        spec = dict(row.spec)
        if KINDS[row.kind].is_keyed:
            spec.pop("key", None)
        # Below an integration the connector goes without saying.
        app = row.app if row.integration_id is None else None
        return {
            "kind": row.kind,
            "key": row.key,
            **({"integrationKey": self.integration_key} if self.integration_key else {}),
            **({"connectorKey": app} if app else {}),
            "customizes": row.parent_id is not None,
            "revision": row.revision,
            "spec": spec,
        }


def rank(kind: str, *, customizes: bool, is_integrations: bool) -> tuple[int, bool, bool]:
    """Return where an element stands among those to be written: after all that it may need."""
    others = [name for name in KINDS if name not in _FOUNDATIONS]
    return [*_FOUNDATIONS, *others].index(kind), is_integrations, customizes


async def export_page(
    session: AsyncSession, workspace_id: UUID, *, after: UUID | None, limit: int
) -> tuple[Sequence[Exported], UUID | None]:
    """Return a page in the order in which elements were made, and after which the next begins."""
    found: list[Exported] = []
    size = 0
    while len(found) < limit and size < _LARGEST_PAGE:
        wanted = min(_FETCHED, limit - len(found))
        rows = await _rows(session, workspace_id, after, wanted)
        found += rows
        if len(rows) < wanted:
            return found, None
        after = rows[-1].row.id
        size += sum(len(orjson.dumps(each.row.spec)) for each in rows)
    more = await _rows(session, workspace_id, after, 1)
    return found, after if more else None


async def _rows(
    session: AsyncSession, workspace_id: UUID, after: UUID | None, limit: int
) -> list[Exported]:
    integration = aliased(Element)
    statement = (
        select(Element, integration.key)
        .outerjoin(
            integration,
            and_(
                col(integration.id) == col(Element.integration_id),
                col(integration.archived_at).is_(None),
            ),
        )
        .where(
            col(Element.workspace_id) == workspace_id,
            col(Element.tenant_id).is_(None),
            col(Element.archived_at).is_(None),
            col(Element.kind).in_(list(KINDS)),
            # What stood at an integration that is archived is out of use with it.
            or_(col(Element.integration_id).is_(None), col(integration.id).is_not(None)),
        )
        .order_by(col(Element.id))
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(col(Element.id) > after)
    return [Exported(row, key) for row, key in (await session.exec(statement)).all()]
