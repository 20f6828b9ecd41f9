"""Functions that a deployment registers for `run-python` actions; see the root pyproject.toml."""

from __future__ import annotations

from typing import Any

from runtime.functions.registry import FunctionContext

__all__ = ["echo", "noop", "total"]


async def noop(given: Any) -> None:
    """Do nothing, as fast as possible."""


async def echo(given: Any, context: FunctionContext) -> dict[str, Any]:
    """Return the input, and for whom it ran."""
    return {"input": given, "tenant": context.tenant["key"]}


def total(given: dict[str, Any]) -> dict[str, float]:
    """Add up the amounts of deals."""
    return {"total": sum(deal["amount"] for deal in given["deals"])}
