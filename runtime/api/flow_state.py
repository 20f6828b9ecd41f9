"""What a flow's state depends on beside the flow itself: the elements that its nodes name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element
from runtime.actions.flow_check import conflicts, likely_schema, shapes_of
from runtime.config.flow_references import NamedAction, actions_of, found_actions
from runtime.config.locate import Located
from runtime.config.resolve import resolve
from runtime.config.rows import as_layer
from runtime.config.specs.flows import FlowNode, node_path, parse_flow
from runtime.errors import ConfigurationError

__all__ = ["with_references"]


async def with_references(
    session: AsyncSession, located: Located, record: dict[str, Any]
) -> dict[str, Any]:
    """Return a flow's record with where its nodes do not suit what they name among its errors."""
    try:
        nodes = parse_flow(located.effective().spec, f"The flow {located.key}").nodes
    except ConfigurationError:  # which the record says
        return record
    named = list(actions_of(nodes))
    if not named:
        return record
    found = await found_actions(session, located.viewer, named)
    faults = list(_unsuitable(nodes, named, found, located))
    if not faults:
        return record
    return {**record, "state": "CONFIGURATION_ERROR", "errors": [*record["errors"], *faults]}


def _unsuitable(
    nodes: Mapping[str, FlowNode],
    named: Sequence[NamedAction],
    found: Mapping[str, Sequence[Element]],
    located: Located,
) -> Iterator[dict[str, str]]:
    """Yield where what comes to an action cannot be what it takes."""
    shapes = shapes_of(nodes)
    before = {
        link.key: f"{node_path(key)}/links/{at}"
        for key, node in nodes.items()
        for at, link in enumerate(node.links)
    }
    for each in named:
        if (wanted := _input_schema(found[each.key], located)) is None:
            continue
        config, given = nodes[each.node_key].config, shapes[each.node_key].given
        place = before.get(each.node_key, node_path(each.node_key))
        if "input" in config:
            given = likely_schema(config["input"], given)
            place = f"{node_path(each.node_key)}/config/input"
        for path, message in conflicts(given, wanted):
            text = f"does not suit the action {each.key!r}: {path or '/'} {message}"
            yield {"path": place, "message": text}


def _input_schema(rows: Sequence[Element], located: Located) -> dict[str, Any] | None:
    try:
        action = resolve([as_layer(row) for row in rows], located.place)
    except ConfigurationError:
        return None
    schema = action.spec.get("inputSchema") if action is not None else None
    return schema if isinstance(schema, dict) else None
