"""What the nodes do that only steer: pass on, choose, gather, wait."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from runtime.actions.operations import evaluated
from runtime.actions.schema import check_input
from runtime.clock import now
from runtime.config.specs.flows import TRIGGERS, FlowNode
from runtime.errors import (
    ActionRunError,
    BadRequestError,
    ConfigurationError,
    InputInvalidError,
)
from runtime.moments import parse_moment

__all__ = ["checked_input", "items_of", "passes", "refuse_unfitting", "wait_of"]

#: The longest wait, in seconds: a year and a day.
_LONGEST = 366 * 86_400.0
_UNITS = {"milliseconds": 0.001, "seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86_400.0}


def checked_input(node: FlowNode, given: Any) -> Any:
    """Return a node's input with defaults filled in; BadRequestError if it is not what it takes."""
    schema = node.input_schema
    if node.type in TRIGGERS:
        schema = node.config.get("inputSchema") or schema
    return given if schema is None else check_input(schema, given)


def refuse_unfitting(node: FlowNode, outputs: Sequence[Any]) -> None:
    """Raise ActionRunError, with `data.errors`, for outputs that do not fit the node's schema."""
    if node.output_schema is None:
        return
    for output in outputs:
        try:
            check_input(node.output_schema, output)
        except InputInvalidError as invalid:
            faults = invalid.data["errors"]
            first = faults[0]
            raise ActionRunError(
                "The node's output does not fit its outputSchema:"
                f" {first['path'] or '/'}: {first['message']}",
                data={"errors": faults},
            ) from None


def passes(node: FlowNode, variables: Mapping[str, Any], where: str) -> bool:
    """Return whether a filter, or a trigger with one, lets its input pass."""
    condition = node.config.get("filter")
    return condition is None or bool(evaluated(condition, variables, f"{where}/filter"))


def items_of(node: FlowNode, variables: Mapping[str, Any], where: str) -> list[Any]:
    """Return the items of a for-each; ConfigurationError for what is not a list."""
    items = evaluated(node.config.get("items"), variables, f"{where}/items")
    if not isinstance(items, list):
        raise ConfigurationError(
            f"{where}/items is {_kind(items)}, and a for-each needs a list.",
            data={"path": f"{where}/items", "found": _kind(items)},
        )
    return items


def wait_of(node: FlowNode, variables: Mapping[str, Any], where: str) -> float:
    """Return for how many seconds a node waits: `until` a moment, or `seconds`, `days`, …"""
    config = node.config
    if "until" in config:
        moment = evaluated(config["until"], variables, f"{where}/until")
        until = None
        with contextlib.suppress(BadRequestError, TypeError):
            until = parse_moment(moment, "until")
        if until is None:
            raise ConfigurationError(
                f"{where}/until is not a moment such as 2027-01-31T12:00:00Z.",
                data={"path": f"{where}/until", "found": _kind(moment)},
            )
        return _bounded((until - now()) / timedelta(seconds=1), f"{where}/until")
    total = 0.0
    for unit, seconds in _UNITS.items():
        if unit not in config:
            continue
        amount = evaluated(config[unit], variables, f"{where}/{unit}")
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise ConfigurationError(
                f"{where}/{unit} is {_kind(amount)} and not a number.",
                data={"path": f"{where}/{unit}", "found": _kind(amount)},
            )
        total += amount * seconds
    return _bounded(total, where)


def _bounded(seconds: float, where: str) -> float:
    if not seconds < _LONGEST:
        raise ConfigurationError(f"{where}: a wait lasts a year at most.", data={"path": where})
    return max(0.0, seconds)


def _kind(value: Any) -> str:
    names = {dict: "an object", str: "a text", bool: "true or false", list: "a list"}
    return "null" if value is None else names.get(type(value), "a number")
