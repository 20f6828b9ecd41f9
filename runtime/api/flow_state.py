"""What a flow's state depends on beside the flow itself: the elements that its nodes name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.flow_check import conflicts, likely_schema, shapes_of
from runtime.config.flow_references import Reference, Referred, missing, references_of, referred
from runtime.config.locate import Located
from runtime.config.resolve import resolve
from runtime.config.rows import as_layer
from runtime.config.specs.flows import FlowNode, node_path, parse_flow
from runtime.errors import ConfigurationError

__all__ = ["with_references"]


async def with_references(
    session: AsyncSession, located: Located, record: dict[str, Any]
) -> dict[str, Any]:
    """Return a flow's record with what is amiss with what its nodes name among its errors."""
    if record["state"] != "READY":
        return record
    nodes = parse_flow(located.effective().spec, f"The flow {located.key}").nodes
    references = list(references_of(nodes))
    if not references:
        return record
    found = await referred(session, located.viewer, references)
    faults = [*missing(references, found), *_unsuitable(nodes, references, found, located)]
    return {**record, "state": "CONFIGURATION_ERROR", "errors": faults} if faults else record


def _unsuitable(
    nodes: Mapping[str, FlowNode], references: list[Reference], found: Referred, located: Located
) -> Iterator[dict[str, str]]:
    """Yield where what comes to an action cannot be what it takes."""
    shapes = shapes_of(nodes)
    before = {
        link.key: f"{node_path(key)}/links/{at}"
        for key, node in nodes.items()
        for at, link in enumerate(node.links)
    }
    for each in references:
        if each.kind != "action" or (wanted := _input_schema(each, found, located)) is None:
            continue
        config, given = nodes[each.node_key].config, shapes[each.node_key].given
        place = before.get(each.node_key, node_path(each.node_key))
        if "input" in config:
            given = likely_schema(config["input"], given)
            place = f"{node_path(each.node_key)}/config/input"
        for path, message in conflicts(given, wanted):
            text = f"does not suit the action {each.key!r}: {path or '/'} {message}"
            yield {"path": place, "message": text}


def _input_schema(each: Reference, found: Referred, located: Located) -> dict[str, Any] | None:
    try:
        action = resolve([as_layer(row) for row in found[each.kind, each.key]], located.place)
    except ConfigurationError:
        return None
    schema = action.spec.get("inputSchema") if action is not None else None
    return schema if isinstance(schema, dict) else None
