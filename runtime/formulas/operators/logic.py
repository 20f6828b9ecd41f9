"""Operators that say yes or no: `$eval`, `$and`, `$or`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from runtime.formulas.conversion import as_text, leading_number
from runtime.formulas.likeness import is_nothing, loosely_equal, strictly_equal, truthy
from runtime.formulas.limits import Budget
from runtime.formulas.operators.members import compile_members
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED, kind_of

__all__ = ["COMPARISONS", "all_of", "any_of", "evaluate_comparison", "has_item", "is_empty"]

#: Compares two values; the budget is asked first.
Comparison = Callable[[Any, Any, Budget], bool]


def evaluate_comparison(subject: Source) -> Step:
    """`{"$eval": value, "is": operand}`: compare, by the operator that is the other key.

    The published evaluator takes an unknown or missing operator as true, so that a misspelt
    filter lets everything through. That is a mistake; here it is an error. So are two operators
    in one `$eval`, of which it would silently use the first.
    """
    formula = subject.parent
    assert formula is not None  # noqa: S101 - an argument always stands inside its formula
    known = [key for key in formula.value if key in COMPARISONS]
    if not known:
        others = [repr(key)[:100] for key in formula.value if key != "$eval"]
        found = f"the operator {others[0]}" if others else "no operator"
        formula.refuse(f"$eval needs one of {', '.join(COMPARISONS)}.", found=found)
    if len(known) > 1:
        formula.refuse("$eval takes one operator; combine with $and.", found=" and ".join(known))
    place = formula.at(known[0])
    compare, left = COMPARISONS[known[0]], subject.compile_to_read()
    right = place.compile_to_read()
    if known[0] not in _LIST_COMPARISONS:
        return lambda state: compare(left(state), right(state), state.budget)
    if not isinstance(place.value, list) and not place.is_formula:
        place.refuse(f"`{known[0]}` takes a list.")

    def run(state: State) -> bool:
        items = right(state)
        if not isinstance(items, list) and not is_nothing(items):
            place.refuse(f"`{known[0]}` needs a list here.", found=kind_of(items))
        return compare(left(state), items or [], state.budget)

    return run


def all_of(argument: Source) -> Step:
    """`{"$and": [a, b]}`: whether all are true; null and undefined members do not count."""
    return _compile_logic(argument, decides=False)


def any_of(argument: Source) -> Step:
    """`{"$or": [a, b]}`: whether one is true; null and undefined members do not count."""
    return _compile_logic(argument, decides=True)


def _compile_logic(argument: Source, *, decides: bool) -> Step:
    members = compile_members(argument)

    def run(state: State) -> Any:
        result: Any = UNDEFINED
        for value in members(state):
            if is_nothing(value):
                continue
            result = truthy(value)
            if result is decides:
                break
        return result

    return run


def is_empty(value: Any) -> bool:
    """Return whether a value is nothing, null, "", [] or {}; 0 and false are not empty."""
    return is_nothing(value) or (isinstance(value, str | list | dict) and not value)


def has_item(items: list[Any], value: Any, budget: Budget) -> bool:
    """Return whether a list has an item of the same type and contents."""
    budget.read(items)
    return any(strictly_equal(item, value, budget) for item in items)


def _contains(left: Any, right: Any, budget: Budget) -> bool:
    """Return whether a list has an item, or a text has a part, in whatever case.

    As in the contract, 0, false and "" contain nothing.
    """
    if isinstance(left, list):
        return has_item(left, right, budget)
    whole, part = as_text(left, budget), as_text(right, budget)
    if whole is None or part is None or is_nothing(right) or not truthy(left):
        return False
    budget.read(whole, part)
    return part.lower() in whole.lower()


def _by_number(compare: Callable[[float, float], bool]) -> Comparison:
    return lambda left, right, budget: compare(
        leading_number(left, budget), leading_number(right, budget)
    )


def _opposite(compare: Comparison) -> Comparison:
    return lambda left, right, budget: not compare(left, right, budget)


def _one_of(left: Any, right: Any, budget: Budget) -> bool:
    return has_item(right, left, budget)


def _empty(left: Any, _right: Any, _budget: Budget) -> bool:
    return is_empty(left)


#: The operators of `$eval`.
COMPARISONS: dict[str, Comparison] = {
    "is": loosely_equal,
    "isNot": _opposite(loosely_equal),
    "oneOf": _one_of,
    "noneOf": _opposite(_one_of),
    "contains": _contains,
    "doesNotContain": _opposite(_contains),
    "lt": _by_number(operator.lt),
    "lte": _by_number(operator.le),
    "gt": _by_number(operator.gt),
    "gte": _by_number(operator.ge),
    "isEmpty": _empty,
    "isNotEmpty": _opposite(_empty),
}
#: Those whose operand is a list.
_LIST_COMPARISONS = {"oneOf", "noneOf"}
