"""When a value counts as true, and when two values are alike.

The rules are JavaScript's, which the contract's clients have, but for one: two lists or objects
are alike when their contents are. The published evaluator asks whether they are the same object
in memory; data that came out of a request or a database has no such likeness.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runtime.formulas.conversion import as_number, as_text
from runtime.formulas.undefined import UNDEFINED

if TYPE_CHECKING:
    from runtime.formulas.limits import Budget

__all__ = ["is_nothing", "loosely_equal", "strictly_equal", "truthy"]


def is_nothing(value: Any) -> bool:
    """Return whether a value is null or undefined."""
    return value is None or value is UNDEFINED


def truthy(value: Any) -> bool:
    """Return whether a value counts as true: lists and objects always do, even empty ones."""
    if isinstance(value, list | dict):
        return True
    return bool(value) and not (isinstance(value, float) and math.isnan(value))


def strictly_equal(left: Any, right: Any, budget: Budget) -> bool:
    """Return whether two values have one type and the same contents; 1 is 1.0 but not true."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            budget.read(one)
            pairs.extend((one[key], other[key]) for key in one)
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            budget.read(one)
            pairs.extend(zip(one, other, strict=True))
        elif not _same_scalar(one, other, budget):
            return False
    return True


def _same_scalar(one: Any, other: Any, budget: Budget) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        if len(one) != len(other):
            return False
        budget.read(one)
        return one == other
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    return isinstance(one, int | float) and isinstance(other, int | float) and one == other


def loosely_equal(left: Any, right: Any, budget: Budget) -> bool:
    """Return whether two values are equal once text, numbers and booleans are brought together."""
    if is_nothing(left) or is_nothing(right):
        return is_nothing(left) and is_nothing(right)
    left_is_container = isinstance(left, list | dict)
    if left_is_container != isinstance(right, list | dict):
        container, single = (left, right) if left_is_container else (right, left)
        text = as_text(container, budget)
        return text is not None and loosely_equal(text, single, budget)
    if left_is_container or (isinstance(left, str) and isinstance(right, str)):
        return strictly_equal(left, right, budget)
    return as_number(left, budget) == as_number(right, budget)
