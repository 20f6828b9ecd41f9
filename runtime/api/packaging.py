"""Packages: elements that go together, as one document that another workspace can take in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.config.kinds import KINDS, parse_spec
from runtime.config.locate import Located, locate
from runtime.config.places import Named
from runtime.config.rows import Viewer
from runtime.errors import ConfigurationError, DependencyError, NotFoundError

__all__ = ["items_of", "whole_package"]


async def whole_package(
    session: AsyncSession, workspace_id: UUID, spec: dict[str, Any], what: str
) -> dict[str, Any]:
    """Return a package's specification with every element written out in it.

    What it has written out already stays as it is; the others are taken as they are in force in the
    workspace. Raises DependencyError, with the member's path, for an element that is not there.
    """
    package = parse_spec("package", spec, what)
    members = []
    for at, member in enumerate(package.elements):
        key, element = member.key, member.element
        if element is None:
            selector = member.key or str(member.id)
            try:
                located = await locate(
                    session, KINDS[member.type], selector, Viewer(workspace_id), Named()
                )
                key, element = located.key, dict(_live(located).effective().spec)
            except (NotFoundError, ConfigurationError) as missing:
                raise DependencyError(
                    f"{what}: /elements/{at}: {missing.message}",
                    data={
                        "missing": member.type,
                        "key": selector,
                        "errors": [{"path": f"/elements/{at}", "message": missing.message}],
                    },
                ) from None
        members.append({"type": member.type, "key": key, "element": element})
    return {**spec, "elements": members}


def _live(located: Located) -> Located:
    if located.is_archived:
        raise NotFoundError(f"The {located.kind.singular} {located.key!r} is archived.")
    return located


def items_of(whole: dict[str, Any], integration: str | None) -> list[dict[str, Any]]:
    """Return what an import takes, to make the elements of a package that is written out.

    They go to an integration, if one is named and their kind may stand there.
    """
    items = []
    for member in whole["elements"]:
        item: dict[str, Any] = {"kind": member["type"], "key": member["key"]}
        if integration is not None and "integration" in KINDS[member["type"]].layers:
            item["integrationKey"] = integration
        items.append({**item, "spec": member["element"]})
    return items
