"""Operators that make a list or an object of others: `$iterate` and `$mergeObjects`."""

from __future__ import annotations

from typing import Any

from runtime.formulas.likeness import is_nothing, truthy
from runtime.formulas.operators.members import compile_members
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED, kind_of

__all__ = ["iterate", "merge_objects"]


def iterate(argument: Source) -> Step:
    """`{"$iterate": {"source": list, "item": template}}`: the template's value for each item.

    Inside, `$.item` and `$.index` are the item's and `$.parent` is what was `$` outside. Values
    that JavaScript takes for false (0, "", false, null) are left out, as the contract has it; a
    list of which nothing is left is undefined.
    """
    if not isinstance(argument.value, dict) or argument.is_formula:
        argument.refuse("$iterate takes an object with `source` and `item`.")
    source, template = argument.at("source"), argument.at("item")
    if source.value is UNDEFINED:
        source.refuse("$iterate needs a list, or a formula that gives one, as its `source`.")
    if template.value is UNDEFINED:
        template.refuse("$iterate needs a template as its `item`.")
    members, step = compile_members(source), template.compile()

    def run(state: State) -> Any:
        built = []
        for index, item in enumerate(members(state)):
            state.budget.visit(1)
            inner = {"item": item, "index": index, "parent": state.variables}
            value = step(state.inside(inner))
            if truthy(value):
                built.append(value)
        return built or UNDEFINED

    return run


def merge_objects(argument: Source) -> Step:
    """`{"$mergeObjects": [a, b]}`: the members of all, those of the later ones winning.

    Null and undefined are left out; if nothing is left, the result is undefined.
    """
    members = compile_members(argument)

    def run(state: State) -> Any:
        merged: dict[str, Any] = {}
        for value in members(state):
            if is_nothing(value):
                continue
            if not isinstance(value, dict):
                argument.refuse("$mergeObjects needs objects.", found=kind_of(value))
            state.budget.visit(len(value))
            merged.update(value)
        return merged or UNDEFINED

    return run
