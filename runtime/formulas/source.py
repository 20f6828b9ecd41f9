"""A place in a template: what stands there, its path, and how to compile or refuse it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from runtime.errors import ConfigurationError
from runtime.formulas.limits import Budget
from runtime.formulas.questions import Notes
from runtime.formulas.undefined import UNDEFINED, kind_of

__all__ = ["Compiler", "Operator", "Source", "State", "Static", "Step"]


@dataclass(slots=True)
class State:
    """One evaluation under way: what `$` means here, and what is left of the limits."""

    variables: Mapping[str, Any]
    budget: Budget
    #: Where formulas ask what they cannot compute; None where nobody would answer.
    notes: Notes | None = None
    #: Of the item of an `$iterate`: the evaluation around it, which `$.parent` shows.
    outer: State | None = None
    #: The variables as `$jsonata` sends them, once that was needed.
    frame: tuple[str, bytes] | None = None

    def inside(self, variables: Mapping[str, Any]) -> State:
        """Return the evaluation for an item; `variables` say what `$` means there."""
        return State(variables, self.budget, self.notes, self)


#: A tuple, because `dict | list` is built anew at each check: 2 instead of 4 us for a request.
_CONTAINERS = (dict, list)

#: Characters of a key that a path shows.
_SHOWN = 200

#: A compiled part of a template: returns its value, or UNDEFINED.
Step = Callable[[State], Any]


class Static:
    """The step of a part without formulas: its value is known, and so is its count of nodes."""

    __slots__ = ("nodes", "value")

    def __init__(self, value: Any, nodes: int) -> None:
        """Take the value; it must not change from now on."""
        self.value = value
        self.nodes = nodes

    def __call__(self, state: State) -> Any:
        """Return a fresh copy, so that a caller who changes what it got changes no template."""
        state.budget.visit(self.nodes)
        return self.copy()

    def copy(self) -> Any:
        """Return a fresh copy of the value."""
        value = self.value
        return _copy(value) if isinstance(value, _CONTAINERS) else value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _copy(member) if isinstance(member, _CONTAINERS) else member
            for key, member in value.items()
        }
    return [_copy(item) if isinstance(item, _CONTAINERS) else item for item in value]


class Compiler(Protocol):
    """What turns places into steps; each place has it, so operators need not import it."""

    def compile(self, source: Source) -> Step:
        """Return the step for what stands there, formulas and all."""

    def literal(self, source: Source) -> Static:
        """Return the step for what stands there, taken as plain data."""

    def names_formula(self, value: Any) -> bool:
        """Return whether a value is a formula, by its first key; also one that is not known."""

    def note_asking(self, argument: Source) -> None:
        """Note that a formula has to look something up."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a template. `operator` is the formula that surrounds it, for messages."""

    value: Any
    compiler: Compiler
    parent: Source | None = None
    key: str | int = ""
    depth: int = 1
    operator: str | None = None

    @property
    def path(self) -> str:
        """Return the JSON pointer (RFC 6901) of this place; very long keys are cut short."""
        keys: list[str] = []
        place = self
        while place.parent is not None:
            key = str(place.key)
            key = key if len(key) <= _SHOWN else key[:_SHOWN] + "…"
            keys.append("/" + key.replace("~", "~0").replace("/", "~1"))
            place = place.parent
        return "".join(reversed(keys))

    @property
    def is_formula(self) -> bool:
        """Return whether a formula stands here."""
        return self.compiler.names_formula(self.value)

    def at(self, key: str | int) -> Source:
        """Return the place of a member or item; its value is UNDEFINED if there is none."""
        value = self.value[key] if isinstance(key, int) else self.value.get(key, UNDEFINED)
        return Source(value, self.compiler, self, key, self.depth + 1, self.operator)

    def items(self) -> list[Source]:
        """Return the places of a list's items."""
        return [self.at(index) for index in range(len(self.value))]

    def inside(self, operator: str) -> Source:
        """Return the place of the argument of the formula that stands here."""
        return replace(self, operator=operator).at(operator)

    def compile(self) -> Step:
        """Return the step that computes what stands here; raises ConfigurationError."""
        return self.compiler.compile(self)

    def compile_to_read(self) -> Step:
        """Return the step for a value that is only looked at, so that it need not be copied."""
        step = self.compile()
        if isinstance(step, Static):
            value = step.value
            return lambda _state: value
        return step

    def literal(self) -> Static:
        """Return what stands here as plain data; raises ConfigurationError past the limits."""
        return self.compiler.literal(self)

    def refuse(self, wants: str, *, found: str | None = None) -> NoReturn:
        """Raise ConfigurationError: `wants` is a sentence that says what belongs here."""
        found = found or kind_of(self.value)
        raise ConfigurationError(
            f"{wants} Found {found} at {self.path or 'the top'}.",
            data={"path": self.path, "operator": self.operator, "found": found},
        )


#: Checks a formula's argument and returns the step that computes the formula.
Operator = Callable[[Source], Step]
