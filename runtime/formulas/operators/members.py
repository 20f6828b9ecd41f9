"""The list that an operator works on: written out in the template, or given by a formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from runtime.formulas.likeness import is_nothing
from runtime.formulas.source import Source, State
from runtime.formulas.undefined import kind_of

__all__ = ["Members", "compile_members"]

#: Gives the values of a list; those that are written out are computed as they are asked for.
Members = Callable[[State], Iterable[Any]]


def compile_members(argument: Source) -> Members:
    """Return the members of a list; a formula that gives nothing or null has none."""
    if isinstance(argument.value, list):
        steps = [item.compile() for item in argument.items()]
        return lambda state: (step(state) for step in steps)
    if not argument.is_formula:
        argument.refuse(f"{argument.operator} takes a list, or a formula that gives one.")
    formula = argument.compile_to_read()

    def computed(state: State) -> Iterable[Any]:
        value = formula(state)
        if is_nothing(value):
            return ()
        if not isinstance(value, list):
            argument.refuse(f"{argument.operator} needs a list here.", found=kind_of(value))
        state.budget.read(value)
        return value

    return computed
