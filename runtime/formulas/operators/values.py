"""Operators that give one value: `$var`, `$plain`, `$firstNotEmpty`."""

from __future__ import annotations

from typing import Any

from runtime.formulas.likeness import is_nothing
from runtime.formulas.locator import LocatorError, parse_locator, read_locator
from runtime.formulas.operators.members import compile_members
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED

__all__ = ["first_not_empty", "plain", "var"]


def var(argument: Source) -> Step:
    """`{"$var": "$.input.id"}`: the value at a locator; the value itself, not a copy."""
    if not isinstance(argument.value, str):
        argument.refuse('$var takes a locator such as "$.input.id".')
    try:
        locator = parse_locator(argument.value)
    except LocatorError as error:
        argument.refuse(
            f'The locator {error}; write it like "$.input.items[0].id".',
            found=f"the locator {argument.value[:200]!r}",
        )
    return lambda state: read_locator(locator, state.variables)


def plain(argument: Source) -> Step:
    """`{"$plain": {"$var": 1}}`: the argument as it stands; nothing in it is a formula."""
    return argument.literal()


def first_not_empty(argument: Source) -> Step:
    """`{"$firstNotEmpty": [a, b]}`: the first that is not null and not undefined; "" counts."""
    members = compile_members(argument)

    def run(state: State) -> Any:
        return next((value for value in members(state) if not is_nothing(value)), UNDEFINED)

    return run
