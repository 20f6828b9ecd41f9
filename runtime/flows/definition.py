"""What a flow run goes by: the flow as it was in force when it started, kept for the run's life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from runtime.actions.schema import check_input
from runtime.config.specs.flows import TRIGGERS, FlowNode, FlowSpec, parse_flow
from runtime.errors import BadRequestError, ConfigurationError, InputInvalidError

__all__ = ["Definition", "pin", "start_node", "unpin"]


@dataclass(frozen=True, slots=True)
class Definition:
    """The nodes by key, and the flow's parameters."""

    nodes: Mapping[str, FlowNode]
    parameters: Mapping[str, Any]


def pin(spec: FlowSpec, revision: str | None) -> dict[str, Any]:
    """Return what a run's request keeps of a flow.

    As text, because jsonb would not keep the order of keys, in which formulas have their meaning.
    Raises ConfigurationError for parameters that do not fit the flow's schema for them.
    """
    dumped = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    kept = {"nodes": dumped.get("nodes", {}), "parameters": _parameters(spec)}
    return {"definition": orjson.dumps(kept).decode(), "revision": revision}


def _parameters(spec: FlowSpec) -> Any:
    if spec.parameters_schema is None:
        return spec.parameters
    try:
        return check_input(spec.parameters_schema, spec.parameters)
    except InputInvalidError as invalid:
        faults = [
            {**fault, "path": f"/parameters{fault['path']}"} for fault in invalid.data["errors"]
        ]
        first = faults[0]
        raise ConfigurationError(
            f"The flow's parameters do not fit: {first['path']}: {first['message']}",
            data={"errors": faults},
        ) from None


def unpin(request: Mapping[str, Any]) -> Definition | None:
    """Return what a run's request keeps, None if that is nothing yet."""
    if (text := request.get("definition")) is None:
        return None
    spec = parse_flow(orjson.loads(text), "the flow")
    return Definition(spec.nodes, spec.parameters)


def start_node(spec: FlowSpec, wanted: str | None) -> str:
    """Return the key of the trigger that a run starts at; BadRequestError if that is not one.

    Without a wish it is the only trigger, or the only one that is for calls.
    """
    triggers = {key: node.type for key, node in spec.nodes.items() if node.type in TRIGGERS}
    if wanted is not None:
        if wanted not in triggers:
            raise BadRequestError(
                f"{wanted[:100]!r} is no trigger of this flow: it has {_listed(triggers)}.",
                data={"path": "/startNodeKey"},
            )
        return wanted
    by_call = [key for key, kind in triggers.items() if kind == "api-trigger"]
    for candidates in (list(triggers), by_call):
        if len(candidates) == 1:
            return candidates[0]
    raise BadRequestError(
        f"Name the node to start at (startNodeKey): the flow has {_listed(triggers)}.",
        data={"path": "/startNodeKey"},
    )


def _listed(triggers: Mapping[str, str]) -> str:
    return ", ".join(f"{key} ({kind})" for key, kind in triggers.items()) or "no trigger"
