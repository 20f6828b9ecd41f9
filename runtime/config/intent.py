"""Finds elements by what somebody wants to do, in words: `create a deal` finds `create-deal`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.kinds import Kind
from runtime.config.rows import Viewer, visible_to

__all__ = ["LONGEST_INTENT", "by_intent"]

#: Characters of an intent.
LONGEST_INTENT = 200
#: Of the words of an intent, more than enough.
_MOST_WORDS = 30
#: How much a word counts for, in PostgreSQL's own four weights.
_BEST: ColumnElement[str] = literal_column("'A'::\"char\"")
_LEAST: ColumnElement[str] = literal_column("'C'::\"char\"")


async def by_intent(
    session: AsyncSession, kind: Kind, viewer: Viewer, intent: str, limit: int
) -> Sequence[UUID]:
    """Return definitions whose key, name or description have words of an intent, the best first.

    A word in the key or the name counts for more than one in the description.
    """
    words = re.findall(r"\w+", intent)[:_MOST_WORDS]
    if not words:
        return []
    label = func.translate(
        func.concat_ws(" ", col(Element.key), Element.spec["name"].astext), "-_.", "   "
    )
    about = func.to_tsvector("english", func.coalesce(Element.spec["description"].astext, ""))
    text = func.setweight(func.to_tsvector("english", label), _BEST).op("||")(
        func.setweight(about, _LEAST)
    )
    wanted = func.websearch_to_tsquery("english", " or ".join(words))
    found = await session.exec(
        select(Element.id)
        .where(
            col(Element.kind) == kind.name,
            col(Element.archived_at).is_(None),
            col(Element.parent_id).is_(None),
            visible_to(viewer),
            text.op("@@")(wanted),
        )
        .order_by(func.ts_rank(text, wanted).desc(), col(Element.id))
        .limit(limit)
    )
    return found.all()
