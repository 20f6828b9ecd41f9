"""Operators that build text: `$tpl` and `$concat`."""

from __future__ import annotations

import re
from typing import Any

from runtime.formulas.conversion import as_text
from runtime.formulas.operators.members import compile_members
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED, kind_of

__all__ = ["concat", "tpl"]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def tpl(argument: Source) -> Step:
    """`{"$tpl": {"template": "Hi {name}", "values": {"name": …}}}`: text with values put in.

    Nothing and null become "". A placeholder that `values` does not have stays as it is. A value
    that has braces itself stays as it is too; the published evaluator reads those again, so
    that one customer's text could pull in another field.
    """
    if not isinstance(argument.value, dict) or argument.is_formula:
        argument.refuse("$tpl takes an object with `template` and `values`.")
    template = argument.at("template")
    if not isinstance(template.value, str):
        template.refuse("$tpl needs a string as its `template`.")
    values = _values(argument.at("values"))
    #: Odd places are the names of placeholders.
    parts = _PLACEHOLDER.split(template.value)
    for at in range(1, len(parts), 2):
        if parts[at] not in values:
            parts[at] = "{" + parts[at] + "}"

    def run(state: State) -> str:
        state.budget.visit(len(parts))
        texts = {name: text_of(place, step(state), state) for name, (place, step) in values.items()}
        filled = list(parts)
        for at in range(1, len(filled), 2):
            filled[at] = texts.get(filled[at], filled[at])
        state.budget.build(sum(map(len, filled)))
        return "".join(filled)

    return run


def _values(source: Source) -> dict[str, tuple[Source, Step]]:
    if source.value is UNDEFINED:
        return {}
    if not isinstance(source.value, dict) or source.is_formula:
        source.refuse("$tpl needs an object of names and values as its `values`.")
    places = {name: source.at(name) for name in source.value}
    return {name: (place, place.compile_to_read()) for name, place in places.items()}


def concat(argument: Source) -> Step:
    """`{"$concat": [a, b]}` or `{"$concat": {"values": [a, b], "delimiter": ", "}}`: joined text.

    Null and "" are left out; the result is undefined only if no value is there at all.
    """
    listed, delimiter = argument, None
    if isinstance(argument.value, dict) and not argument.is_formula:
        listed = argument.at("values")
        if "delimiter" in argument.value:
            delimiter = argument.at("delimiter")
    elif not isinstance(argument.value, list):
        argument.refuse("$concat takes a list, or an object with `values` and `delimiter`.")
    members = compile_members(listed)
    between = delimiter.compile_to_read() if delimiter else None

    def run(state: State) -> Any:
        values = [value for value in members(state) if value is not UNDEFINED]
        if not values:
            return UNDEFINED
        texts = [text for value in values if (text := text_of(listed, value, state))]
        glue = text_of(delimiter, between(state), state) if delimiter and between else ""
        state.budget.build(sum(map(len, texts)) + len(glue) * len(texts))
        return glue.join(texts)

    return run


def text_of(place: Source, value: Any, state: State) -> str:
    """Return a value as text; raises ConfigurationError where that makes no sense."""
    text = as_text(value, state.budget)
    if text is None:
        place.refuse(
            f"{place.operator} cannot write this as text; name the field of it that you mean.",
            found=kind_of(value),
        )
    return text
