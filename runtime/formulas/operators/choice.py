"""Operators that choose: `$case` by filters, `$map` by a table."""

from __future__ import annotations

from typing import Any

from runtime.formulas.likeness import is_nothing, loosely_equal, truthy
from runtime.formulas.operators.conditions import compile_conditions
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED

__all__ = ["case", "map_value"]


def case(argument: Source) -> Step:
    """`{"$case": {"cases": [{"filter": …, "value": …}], "default": …}}`: the first that matches.

    The list of cases may also stand alone. A case without a filter matches, and so does one whose
    filter is null, undefined or, as the contract has it, a literal false: a switched off filter.
    A default that is null counts as none.
    """
    cases, default = argument, None
    if isinstance(argument.value, dict) and not argument.is_formula:
        cases, default = argument.at("cases"), argument.at("default")
    if not isinstance(cases.value, list):
        cases.refuse("$case takes a list of cases, or an object with `cases` and `default`.")
    steps = [_compile_case(each) for each in cases.items()]
    otherwise = _optional(default) if default else _nothing

    def run(state: State) -> Any:
        state.budget.visit(len(steps))
        for matches, value in steps:
            if matches(state):
                return value(state)
        fallback = otherwise(state)
        return UNDEFINED if fallback is None else fallback

    return run


def _compile_case(source: Source) -> tuple[Step, Step]:
    if not isinstance(source.value, dict) or source.is_formula:
        source.refuse("A case is an object with `filter` and `value`.")
    return _compile_filter(source.at("filter")), _optional(source.at("value"))


def _compile_filter(source: Source) -> Step:
    value = source.value
    if is_nothing(value) or isinstance(value, bool) or value == {}:
        return lambda _state: True
    if isinstance(value, list):
        return compile_conditions(source)
    if not source.is_formula:
        source.refuse('A filter is a formula such as {"$eval": {"$var": "$.input.a"}, "is": 1}.')
    formula = source.compile_to_read()

    def matches(state: State) -> bool:
        result = formula(state)
        return is_nothing(result) or truthy(result)

    return matches


def map_value(argument: Source) -> Step:
    """`{"$map": {"value": …, "mapping": [{"from": …, "to": …}], "default": …}}`: look up a table.

    The first row whose `from` is like the value gives its `to`; "1" is like 1, nothing like null.
    """
    if not isinstance(argument.value, dict) or argument.is_formula:
        argument.refuse("$map takes an object with `value`, `mapping` and `default`.")
    mapping = argument.at("mapping")
    if not isinstance(mapping.value, list):
        mapping.refuse("$map needs a list of {from, to} as its `mapping`.")
    rows = [_compile_row(row) for row in mapping.items()]
    subject = _optional(argument.at("value"), to_read=True)
    otherwise = _optional(argument.at("default"))

    def run(state: State) -> Any:
        state.budget.visit(len(rows))
        value = subject(state)
        for wanted, result in rows:
            if loosely_equal(value, wanted(state), state.budget):
                return result(state)
        return otherwise(state)

    return run


def _compile_row(source: Source) -> tuple[Step, Step]:
    if not isinstance(source.value, dict) or source.is_formula:
        source.refuse("A row of `mapping` is an object with `from` and `to`.")
    return _optional(source.at("from"), to_read=True), _optional(source.at("to"))


def _optional(source: Source, *, to_read: bool = False) -> Step:
    if source.value is UNDEFINED:
        return _nothing
    return source.compile_to_read() if to_read else source.compile()


def _nothing(_state: State) -> Any:
    return UNDEFINED
