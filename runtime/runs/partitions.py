"""Selects the runs of a batch in a way that lets PostgreSQL leave the other months' partitions out.

A plan that is kept for any ids cannot look into an array for that; bounds it compares with the
partitions' whenever it is executed. So the condition on a batch is always

    id = ANY(%(ids)s::uuid[]) AND id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

__all__ = ["among"]


def among(ids: Sequence[UUID]) -> dict[str, Any]:
    """Return the parameters of that condition for these runs, of which there is at least one."""
    return {"ids": list(ids), "first_id": min(ids), "last_id": max(ids)}
