"""The older filters of `$case`: `[{"field": "$.input.a", "operator": "is", "value": 1}, …]`.

All conditions must hold. `value` is plain data. Where a field leads through a list, a condition
holds if it holds for any item. The published evaluator ignores a condition whose operator it does
not know; here that is an error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from runtime.formulas.conversion import as_text, leading_number
from runtime.formulas.likeness import is_nothing, loosely_equal, truthy
from runtime.formulas.limits import Budget
from runtime.formulas.locator import Locator, LocatorError, parse_locator, read_locator
from runtime.formulas.operators.logic import has_item, is_empty
from runtime.formulas.source import Source, State
from runtime.formulas.undefined import UNDEFINED

__all__ = ["compile_conditions"]

#: Whether a condition holds for one value of its field and its operand.
_Test = Callable[[Any, Any, Budget], bool]
_Condition = Callable[[State], bool]


def compile_conditions(source: Source) -> _Condition:
    """Return whether all conditions of a list hold; an empty list holds."""
    conditions = [_compile_condition(item) for item in source.items()]

    def hold(state: State) -> bool:
        state.budget.visit(len(conditions))
        return all(condition(state) for condition in conditions)

    return hold


def _compile_condition(source: Source) -> _Condition:
    if not isinstance(source.value, dict) or source.is_formula:
        source.refuse("A condition is an object with `field`, `operator` and `value`.")
    locator = _field(source.at("field"))
    name = source.at("operator")
    test = _TESTS.get(name.value) if isinstance(name.value, str) else None
    if test is None:
        found = f"the operator {name.value[:100]!r}" if isinstance(name.value, str) else None
        name.refuse(f"A condition's operator is one of {', '.join(_TESTS)}.", found=found)
    operand = source.at("value")
    if operand.is_formula:
        operand.refuse(
            "A condition's value is plain data; use a filter with $eval.", found="a formula"
        )
    if name.value in _LIST_TESTS and not isinstance(operand.value, list):
        operand.refuse(f"The operator {name.value} takes a list.")
    value = None if operand.value is UNDEFINED else operand.literal().value

    def holds(state: State) -> bool:
        budget = state.budget
        return any(test(each, value, budget) for each in _read(locator, state.variables, budget))

    return holds


def _field(source: Source) -> Locator:
    if not isinstance(source.value, str):
        source.refuse('A condition needs a locator such as "$.input.a" as its `field`.')
    try:
        return parse_locator(source.value)
    except LocatorError as error:
        source.refuse(f"The field's locator {error}.", found=f"the locator {source.value[:200]!r}")


def _read(locator: Locator, variables: Any, budget: Budget) -> Iterator[Any]:
    """Give the values to which a locator leads: several, where names are read from a list."""
    ways = [(0, variables)]
    while ways:
        at, value = ways.pop()
        if at == len(locator):
            yield value
        elif isinstance(value, list) and isinstance(locator[at], str):
            budget.read(value)
            ways.extend((at, item) for item in value or [UNDEFINED])
        else:
            ways.append((at + 1, read_locator((locator[at],), value)))


def _contains(left: Any, right: Any, budget: Budget) -> bool:
    whole, part = as_text(left, budget), as_text(right, budget)
    if whole is None or part is None or is_nothing(right):
        return False
    budget.read(whole, part)
    return part in whole


def _by_number(compare: Callable[[float, float], bool]) -> _Test:
    return lambda left, right, budget: compare(
        leading_number(left, budget), leading_number(right, budget)
    )


_TESTS: dict[str, _Test] = {
    "is": loosely_equal,
    "is_not": lambda left, right, budget: not loosely_equal(left, right, budget),
    "is_one_of": lambda left, right, budget: has_item(right, left, budget),
    "is_not_one_of": lambda left, right, budget: not has_item(right, left, budget),
    "is_true": lambda left, _right, _budget: truthy(left),
    "is_false": lambda left, _right, _budget: left is False,
    # a field that is nothing, "", 0 or false neither contains nor does not contain
    "contains": lambda left, right, budget: truthy(left) and _contains(left, right, budget),
    "does_not_contain": lambda left, right, budget: (
        truthy(left) and not _contains(left, right, budget)
    ),
    "array_includes": lambda left, right, budget: (
        isinstance(left, list) and has_item(left, right, budget)
    ),
    "array_does_not_include": lambda left, right, budget: (
        not isinstance(left, list) or not has_item(left, right, budget)
    ),
    "less_than": _by_number(operator.lt),
    "less_than_or_equal": _by_number(operator.le),
    "more_than": _by_number(operator.gt),
    "more_than_or_equal": _by_number(operator.ge),
    "is_empty": lambda left, _right, _budget: is_empty(left),
    "is_not_empty": lambda left, _right, _budget: not is_empty(left),
}
_LIST_TESTS = {"is_one_of", "is_not_one_of"}
