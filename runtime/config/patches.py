"""Two merge patches as one."""

from __future__ import annotations

from typing import Any

from runtime.config.merge import diff_patch, merge_patch
from runtime.formulas.registry import is_known_formula

__all__ = ["joined"]


def joined(base: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return one patch that does to a base what two do, one after the other.

    It keeps each value that was set on purpose, also one that is the base's at the moment. Only
    where no such patch exists (a value became an object that the base has too) it is the shortest.
    """
    wanted = merge_patch(merge_patch(base, first), second)
    both: dict[str, Any] = _joined(first, second, top=True)
    if not diff_patch(merge_patch(base, both), wanted):
        return both
    return diff_patch(base, wanted)


def _joined(first: Any, second: Any, *, top: bool = False) -> Any:
    if not (_has_members(first, top=top) and _has_members(second, top=top)):
        return second
    return {
        **first,
        **{
            key: _joined(first[key], value) if key in first else value
            for key, value in second.items()
        },
    }


def _has_members(value: Any, *, top: bool) -> bool:
    return isinstance(value, dict) and (top or not is_known_formula(value))
