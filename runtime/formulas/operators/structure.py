"""Operators about the template itself: `$formula` keeps formulas, `$copy` repeats a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigurationError
from runtime.formulas.limits import Budget
from runtime.formulas.locator import Locator, LocatorError, parse_locator, read_locator
from runtime.formulas.operators.values import var
from runtime.formulas.source import Source, State, Step
from runtime.formulas.undefined import UNDEFINED

__all__ = ["Copy", "copied", "copy", "formula"]


def formula(argument: Source) -> Step:
    """`{"$formula": {"$eval": {"$var": "$.input.n"}, "is": 3}}`: a formula, to be used elsewhere.

    Only `$var`s in it are replaced by their values; all other formulas stay as they are written.
    """
    return _kept(argument)


def _kept(source: Source) -> Step:
    value = source.value
    if isinstance(value, dict):
        if next(iter(value), None) == "$var":
            return var(source.inside("$var"))
        members = {name: _kept(source.at(name)) for name in value}

        def keep_object(state: State) -> Any:
            state.budget.visit(1)
            found = {name: step(state) for name, step in members.items()}
            return {name: each for name, each in found.items() if each is not UNDEFINED}

        return keep_object
    if isinstance(value, list):
        steps = [_kept(item) for item in source.items()]

        def keep_list(state: State) -> Any:
            state.budget.visit(1)
            return [each for step in steps if (each := step(state)) is not UNDEFINED]

        return keep_list
    return source.literal()


@dataclass(frozen=True, slots=True)
class Copy:
    """Stands in a result until all of it is built, then gives way to what it names."""

    locator: Locator
    path: str


def copy(argument: Source) -> Step:
    """`{"$copy": "$.owner.id"}`: what stands at that place of the result, once it is built.

    It stands for a whole field or item; other formulas cannot compute with it, and what it names
    must not be a copy itself, or hold one.
    """
    if not isinstance(argument.value, str):
        argument.refuse('$copy takes a place in the result such as "$.owner.id".')
    if _surrounding(argument) is not None:
        argument.refuse(f"$copy cannot stand inside {_surrounding(argument)}.", found="$copy")
    try:
        locator = parse_locator(argument.value)
    except LocatorError as error:
        argument.refuse(
            f'The locator {error}; write it like "$.owner.id".',
            found=f"the locator {argument.value[:200]!r}",
        )
    stand_in = Copy(locator, argument.path)

    def run(state: State) -> Any:
        state.budget.visit(1)
        return stand_in

    return run


def _surrounding(argument: Source) -> str | None:
    """Return the formula inside of which the formula of this argument stands."""
    place = argument.parent
    return place.parent.operator if place is not None and place.parent is not None else None


def copied(result: Any, budget: Budget) -> Any:
    """Return a result with every copy in its place; raises ConfigurationError for bad ones."""
    return _Copier(result, budget).whole()


class _Copier:
    def __init__(self, result: Any, budget: Budget) -> None:
        self._result = result
        self._budget = budget

    def whole(self) -> Any:
        if isinstance(self._result, Copy):
            raise _wrong(self._result, "the result is nothing but this copy")
        return self._filled(self._result)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, Copy):
            return self._named(value)
        if isinstance(value, dict):
            self._budget.visit(len(value))
            members = {name: self._filled(each) for name, each in value.items()}
            return {name: each for name, each in members.items() if each is not UNDEFINED}
        if isinstance(value, list):
            self._budget.visit(len(value))
            return [each for item in value if (each := self._filled(item)) is not UNDEFINED]
        return value

    def _named(self, stand_in: Copy) -> Any:
        variables: Mapping[str, Any] = self._result if isinstance(self._result, dict) else {}
        return self._plain(read_locator(stand_in.locator, variables), stand_in)

    def _plain(self, value: Any, stand_in: Copy) -> Any:
        if isinstance(value, Copy):
            raise _wrong(stand_in, "what it names is a copy itself, or holds one")
        if isinstance(value, dict):
            self._budget.visit(len(value))
            return {name: self._plain(each, stand_in) for name, each in value.items()}
        if isinstance(value, list):
            self._budget.visit(len(value))
            return [self._plain(each, stand_in) for each in value]
        return value


def _wrong(stand_in: Copy, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The $copy at {stand_in.path} cannot be made: {why}.",
        data={"path": stand_in.path, "operator": "$copy", "found": why},
    )
