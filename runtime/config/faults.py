"""What is wrong with a merged specification, and which layer says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runtime.config.documents import check_document
from runtime.config.merge import LayerSpec, tokens
from runtime.config.resolve import Resolved
from runtime.config.store import ElementRow
from runtime.errors import ConfigurationError

__all__ = ["Check", "Fault", "blamed_layer", "faults_of", "refuse_faults", "with_layers"]

#: Takes a kind, a merged specification and how messages call it; raises ConfigurationError.
Check = Callable[[str, dict[str, Any], str], object]

#: `{path, message, layer}`
Fault = dict[str, str]


def faults_of(resolved: Resolved, check: Check) -> list[Fault]:
    """Return what is wrong with an element that was resolved; nothing if it can be used."""
    try:
        check(resolved.kind, resolved.spec, f"The {resolved.kind} {resolved.key}")
    except ConfigurationError as invalid:
        return with_layers(invalid, resolved.layers)
    return []


def refuse_faults(resolved: Resolved, check: Check, layer: str) -> None:
    """Raise ConfigurationError if an element could not be used after a change at this layer."""
    check_document(resolved.spec, f"The {resolved.kind} {resolved.key}")
    faults = faults_of(resolved, check)
    if faults:
        first, more = faults[0], f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigurationError(
            f"The {resolved.kind} {resolved.key} would not be valid:"
            f" {first['path']}: {first['message']}{more}",
            data={"errors": faults, "layer": layer},
        )


def with_layers(
    invalid: ConfigurationError, layers: Sequence[ElementRow | LayerSpec]
) -> list[Fault]:
    """Return the faults of a merged specification, each with the layer that says it.

    `layers` are those that were merged, far to near.
    """
    errors = invalid.data.get("errors") or [{"path": "/", "message": invalid.message}]
    return [{**fault, "layer": blamed_layer(fault["path"], layers)} for fault in errors]


def blamed_layer(path: str, layers: Sequence[ElementRow | LayerSpec]) -> str:
    """Return the nearest layer that says something about a path, were it to take it away."""
    keys = tokens(path) if path != "/" else ()
    for row in reversed(layers):
        if not row.is_patch or _speaks_of(row.spec, keys):
            return row.layer
    return layers[0].layer


def _speaks_of(patch: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(patch, dict):
            return True  # a value that stands for all that would be below it
        if key not in patch:
            return False
        patch = patch[key]
    return True
