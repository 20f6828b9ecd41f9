"""Takes back parts of what an instance of a flow differs in: its name, some nodes, or all."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.config.locate import Located
from runtime.config.merge import merge_patch
from runtime.config.resolve import resolve
from runtime.config.rows import as_layer
from runtime.config.target import Target, layers_below, own_row
from runtime.config.write import Change, Check, Edit, change
from runtime.errors import BadRequestError

__all__ = ["FlowReset", "reset_parts"]


class FlowReset(BaseModel):
    """What is taken back; nothing that is not named."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    name: bool = False
    #: Node key -> whether it is taken back.
    nodes: dict[str, bool] = Field(default_factory=dict, max_length=500)
    all_nodes: bool = False

    def left_of(self, patch: dict[str, Any]) -> dict[str, Any]:
        """Return what is left of a customisation."""
        left = {name: value for name, value in patch.items() if name != "name" or not self.name}
        nodes = left.pop("nodes", None) or {}
        kept = {key: node for key, node in nodes.items() if not self.nodes.get(key)}
        return {**left, "nodes": kept} if kept and not self.all_nodes else left


async def reset_parts(
    session: AsyncSession, located: Located, target: Target, *, parts: FlowReset, check: Check
) -> Change | None:
    """Reset parts of the caller's customisation; None if it does not differ in them.

    Raises ConfigurationError if what is left is no flow, such as a link to a node that was added.
    """
    own = own_row(located, target)
    if own is None:
        return None
    lower = resolve([as_layer(row) for row in layers_below(located, own)], located.place)
    if own.parent_id is None or lower is None:
        raise BadRequestError(
            f"{located.key} is defined here and customises nothing, so there is nothing to reset."
        )
    whole = merge_patch(lower.spec, parts.left_of(own.spec))
    return await change(session, located, target, Edit(whole, replaces=True, allowed=("",)), check)
