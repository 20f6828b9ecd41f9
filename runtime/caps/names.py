"""How the lanes call what a cap is about. A running cap is one number under one name there."""

from __future__ import annotations

from uuid import UUID

from psycopg.rows import DictRow

__all__ = ["UNCAPPED", "cap_name", "lane_amount"]

#: What the lanes are told for "no cap": a number lifts a default, the absence of one does not.
UNCAPPED = 2**31

_DEFAULTS = {
    "tenant": "tenants",
    "connection": "connections",
    "flows": "flows",
    "element": "elements",
}


def cap_name(
    workspace_id: UUID, scope: str, tenant_id: UUID | None = None, subject_id: UUID | None = None
) -> str:
    """Return the name under which the lanes look a running cap up."""
    if scope == "workspace":
        return f"workspace:{workspace_id}"
    if scope == "tenant" and tenant_id is not None:
        return f"tenant:{workspace_id}/{tenant_id}"
    if scope == "element" and subject_id is not None:
        # An element of the public catalogue is run by many workspaces; each counts for itself.
        return f"element:{workspace_id}/{subject_id}"
    if subject_id is not None:
        return f"{'flow' if scope == 'flows' else scope}:{subject_id}"
    return f"{_DEFAULTS[scope]}@{workspace_id}"


def lane_amount(row: DictRow) -> int:
    """Return the number that the lanes are told for a row of `caps`."""
    return UNCAPPED if row["amount"] is None else int(row["amount"])
