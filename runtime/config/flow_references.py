"""The actions that the nodes of a flow name by key, and what a viewer has of them.

What is named may come later, such as when a package is installed piece by piece, so that a key
which nothing has yet is no reason to refuse a flow: `needs.py` finds it, and the flow shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.config.element_keys import as_uuid
from runtime.config.rows import Viewer, rows_by_keys
from runtime.config.specs.flows import FlowNode

__all__ = ["NamedAction", "actions_of", "found_actions"]


@dataclass(frozen=True, slots=True)
class NamedAction:
    """The key of an action in a node's configuration."""

    node_key: str
    key: str


def actions_of(nodes: Mapping[str, FlowNode]) -> Iterator[NamedAction]:
    """Yield each action that a node runs by key; ids and formulas are no keys."""
    for node_key, node in nodes.items():
        if node.type != "run-action":
            continue
        key = _key_in(node.config)
        if isinstance(key, str) and key and as_uuid(key) is None:
            yield NamedAction(node_key, key)


async def found_actions(
    session: AsyncSession, viewer: Viewer, named: Sequence[NamedAction]
) -> Mapping[str, Sequence[Element]]:
    """Return the rows that a viewer has of each key; `integration.key` says which one of a key."""
    keys = {each.key for each in named}
    bare = {key.partition(".")[2] for key in keys} - {""}
    found: dict[str, list[Element]] = defaultdict(list)
    for row in await rows_by_keys(session, "action", keys | bare, viewer):
        found[row.key].append(row)
    return {key: found.get(key) or found.get(key.partition(".")[2], []) for key in keys}


def _key_in(config: Mapping[str, Any]) -> Any:
    action = config.get("action")
    if isinstance(action, Mapping):
        return action.get("key")
    return action or config.get("actionKey")
