"""What the workspace lets its tenants change of one element.

The kind says what may be customised at all; the workspace's setting `editablePaths` narrows that:
an entry `action` for every action, an entry `action.list-deals` for that one.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Workspace
from runtime.config.rows import Viewer, rows_by_keys
from runtime.config.target import Target
from runtime.errors import AccessDeniedError

__all__ = ["editable_here", "narrowed", "refuse_shadow"]


async def editable_here(
    session: AsyncSession, target: Target, name: str, allowed: Sequence[str]
) -> Sequence[str]:
    """Return below which paths a row may customise an element; `name` is `<kind>.<key>`.

    `allowed` is what the kind lets be customised. A manager's rows are not narrowed.
    """
    own = await _of_element(session, target, name) if target.tenant_id is not None else None
    return allowed if own is None else narrowed(allowed, own)


async def refuse_shadow(session: AsyncSession, target: Target, kind: str, key: str) -> None:
    """Where an element is narrowed, a tenant does not put another in its place either.

    Raises AccessDeniedError.
    """
    if target.tenant_id is None or await _of_element(session, target, f"{kind}.{key}") is None:
        return
    if await rows_by_keys(session, kind, [key], Viewer(target.workspace_id)):
        raise AccessDeniedError(
            f"The workspace limits what may differ from its {kind} {key!r}. Customise it, or choose"
            " another key.",
            data={"errors": [{"path": "/key", "message": "is taken above"}]},
        )


def narrowed(allowed: Sequence[str], to: Sequence[str]) -> tuple[str, ...]:
    """Return the JSON pointers below which both lists allow changes."""
    inner = [path for path in to if any(_is_below(path, each) for each in allowed)]
    inner += [path for path in allowed if any(_is_below(path, each) for each in to)]
    return tuple(dict.fromkeys(inner))


async def _of_element(session: AsyncSession, target: Target, name: str) -> tuple[str, ...] | None:
    found = await session.exec(
        select(Workspace.settings).where(col(Workspace.id) == target.workspace_id)
    )
    entries = found.one().get("editablePaths")
    paths = entries.get(name) if isinstance(entries, dict) else None
    return tuple(path for path in paths if isinstance(path, str)) if paths is not None else None


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}/")
