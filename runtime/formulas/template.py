"""Templates: JSON in which some objects are formulas. Compile once, evaluate for each run.

An object is a formula if its first key is a formula's name (`$eval` may come after its operator);
its other keys are ignored. In plain data, members and items that come out undefined are dropped,
and an object or list that loses all of them becomes undefined itself; `{}`, `[]` and null stay.

Results are the caller's own, except what `$var` gives: that is the variables' value itself.

Two things differ from the published evaluator, which fails silently: a formula that does not
exist, or is written wrongly, is an error with its place (there: plain data or
nothing), found by `check`; and text that would be `[object Object]` is an error when it is built.
To send a key such as "$top" that looks like a formula, put another key before it or use `$plain`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from runtime.errors import ConfigurationError
from runtime.formulas.limits import MAX_DEPTH, MAX_NODES, Budget
from runtime.formulas.operators.structure import copied
from runtime.formulas.questions import noting
from runtime.formulas.registry import OPERATORS, formula_name
from runtime.formulas.source import Source, State, Static, Step
from runtime.formulas.undefined import UNDEFINED

__all__ = ["UNDEFINED", "Compiled", "check", "compile_template", "evaluate"]

_SINGLE = (str, int, float, type(None))


def evaluate(template: Any, variables: Mapping[str, Any]) -> Any:
    """Return the template's value, or UNDEFINED if nothing is left of it.

    Raises ConfigurationError with data {path, operator, found}. For a template that is used more
    than once, compile it.
    """
    return compile_template(template).evaluate(variables)


def check(template: Any, *, may_ask: bool = True) -> None:
    """Raise ConfigurationError with data {path, operator, found} if a template cannot work.

    Without `may_ask` it cannot if a formula in it has to look something up.
    """
    compiler = _Compiler()
    Source(template, compiler).compile()
    if compiler.asking is not None and not may_ask:
        name = str(compiler.asking.operator)
        compiler.asking.refuse(
            f"{name} has to look something up, which is not done here.", found=name
        )


def compile_template(template: Any) -> Compiled:
    """Return the template ready to be evaluated; parts without formulas are recognised here.

    The template may be changed afterwards, this does not notice. Raises ConfigurationError with
    data {path, operator, found}.
    """
    compiler = _Compiler()
    step = Source(template, compiler).compile()
    return Compiled(step, has_copies=compiler.has_copies)


class Compiled:
    """A template that was found to be in order. Safe to share between threads."""

    __slots__ = ("_has_copies", "_step")

    def __init__(self, step: Step, *, has_copies: bool) -> None:
        """Take the step of the whole template, and whether it leaves places to be filled."""
        self._step = step
        self._has_copies = has_copies

    @property
    def is_static(self) -> bool:
        """Return whether there is no formula in it, so that every evaluation gives the same."""
        return isinstance(self._step, Static)

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Return the value for these variables, or UNDEFINED; raises ConfigurationError."""
        step = self._step
        if isinstance(step, Static):
            return step.copy()
        budget = Budget()
        result = step(State(variables, budget, noting()))
        return copied(result, budget) if self._has_copies else result


class _Compiler:
    """Turns the places of one template into steps, and counts its nodes."""

    def __init__(self) -> None:
        self.has_copies = False
        self.asking: Source | None = None
        self._nodes = 0

    def compile(self, source: Source) -> Step:
        value = source.value
        self._count(source)
        if isinstance(value, dict):
            name = formula_name(value)
            if name is not None:
                return self._formula(source, name)
            return _object_step({key: source.at(key).compile() for key in self._keys(source)})
        if isinstance(value, list):
            return _list_step([item.compile() for item in source.items()])
        return Static(value, 1)

    def literal(self, source: Source) -> Static:
        nodes = self._measure(source)
        return Static(Static(source.value, nodes).copy(), nodes)

    def _measure(self, source: Source) -> int:
        """Return the count of nodes of plain data, which must be within the limits."""
        self._count(source)
        places: list[Source] = []
        if isinstance(source.value, dict):
            places = [source.at(key) for key in self._keys(source)]
        elif isinstance(source.value, list):
            places = source.items()
        return 1 + sum(map(self._measure, places))

    def names_formula(self, value: Any) -> bool:
        return formula_name(value) is not None

    def note_asking(self, argument: Source) -> None:
        self.asking = self.asking or argument

    def _formula(self, source: Source, name: str) -> Step:
        operator = OPERATORS.get(name)
        if operator is not None:
            self.has_copies = self.has_copies or name == "$copy"
            return operator(source.inside(name))
        shown = name[:100]
        known = ", ".join(sorted(OPERATORS))
        raise ConfigurationError(
            f"{shown} is not a formula; known: {known}. Found at {source.path or 'the top'}; as"
            " plain data it goes into $plain.",
            data={"path": source.path, "operator": shown, "found": shown},
        )

    def _keys(self, source: Source) -> list[str]:
        for key in source.value:
            if not isinstance(key, str):
                source.refuse("Keys are strings.", found=f"the key {key!r:.100}")
        return cast("list[str]", list(source.value))

    def _count(self, source: Source) -> None:
        self._nodes += 1
        if source.depth > MAX_DEPTH:
            source.refuse(f"A template has at most {MAX_DEPTH} levels.", found="one more")
        if self._nodes > MAX_NODES:
            source.refuse(f"A template has at most {MAX_NODES:,} nodes.", found="one more")
        if not isinstance(source.value, (dict, list, *_SINGLE)):
            source.refuse("A template is JSON.")


def _object_step(members: dict[str, Step]) -> Step:
    static = _all_static(members.values())
    if static is not None:
        values = (step.value for step in static)
        return Static(dict(zip(members, values, strict=True)), 1 + sum(s.nodes for s in static))
    pairs = list(members.items())

    def run(state: State) -> Any:
        state.budget.visit(len(pairs))
        built = {}
        for key, step in pairs:
            member = step(state)
            if member is not UNDEFINED:
                built[key] = member
        return built or UNDEFINED

    return run


def _list_step(items: list[Step]) -> Step:
    static = _all_static(items)
    if static is not None:
        return Static([step.value for step in static], 1 + sum(step.nodes for step in static))

    def run(state: State) -> Any:
        state.budget.visit(len(items))
        built = [item for step in items if (item := step(state)) is not UNDEFINED]
        return built or UNDEFINED

    return run


def _all_static(steps: Collection[Step]) -> list[Static] | None:
    static = [step for step in steps if isinstance(step, Static)]
    return static if len(static) == len(steps) else None
