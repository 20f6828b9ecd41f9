"""Templates as a whole: plain data, undefined values, limits, and what must never happen."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ConfigurationError
from runtime.formulas.questions import answering, computed
from runtime.formulas.registry import OPERATORS
from runtime.formulas.template import UNDEFINED, check, compile_template, evaluate

MISSING = {"$var": "$.missing"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({}, {}),
        ([], []),
        (None, None),
        ("x", "x"),
        (MISSING, UNDEFINED),
        ({"a": MISSING}, UNDEFINED),
        ({"a": MISSING, "b": {}}, {"b": {}}),
        ({"a": {"b": [MISSING]}}, UNDEFINED),
        ([MISSING, 1, [MISSING]], [1]),
        ([[], None], [[], None]),
        ({"a": 1, "$var": "$.input"}, {"a": 1, "$var": "$.input"}),
        ({"$var": "$.input", "b": 2}, 7),
        ({"$": 1, "$1": {"$.x": MISSING}}, {"$": 1}),
        ({"$plain": None, "b": 2}, None),
    ],
)
def test_plain_data_and_what_vanishes(template, expected):
    """Undefined members are dropped, and what loses all of them goes with them."""
    assert evaluate(template, {"input": 7}) == expected


def test_a_formula_that_does_not_exist_is_refused():
    """A misspelt formula is an error that lists those that exist."""
    with pytest.raises(ConfigurationError) as caught:
        check({"a/b": {"~c": {"$frobnicate": 1}}})
    assert caught.value.message.startswith("$frobnicate is not a formula; known: $and, $case,")
    assert caught.value.data["path"] == "/a~1b/~0c"


def test_the_contract_has_25_formulas():
    """Every formula of the contract is there."""
    assert len(OPERATORS) == 25


def test_what_a_caller_does_with_a_result_changes_no_template():
    """Results are fresh, so one tenant's headers cannot end up in the next tenant's request."""
    template = {
        "headers": {"Accept": "json"},
        "note": {"$var": "$.note"},
        "as_is": {"$plain": {"list": [1]}},
        "chosen": {"$case": [{"value": {"x": [1]}}]},
    }
    compiled = compile_template(template)
    first = compiled.evaluate({"note": "acme"})
    first["headers"]["Authorization"] = "acme's"
    first["as_is"]["list"].append(2)
    first["chosen"]["x"].append(2)
    assert compiled.evaluate({"note": "globex"}) == {
        "headers": {"Accept": "json"},
        "note": "globex",
        "as_is": {"list": [1]},
        "chosen": {"x": [1]},
    }


def test_a_template_without_formulas_is_known_to_be_static():
    """Static templates are recognised, also those with $plain."""
    static = compile_template({"a": [1, {"$plain": {"$var": "$.x"}}]})
    assert static.is_static
    assert static.evaluate({}) == {"a": [1, {"$var": "$.x"}]}
    assert not compile_template({"a": [1, MISSING]}).is_static


def test_a_template_may_change_after_it_was_compiled():
    """A compiled template keeps what it was compiled from."""
    template = {"a": {"b": [1]}, "p": {"$plain": [1]}}
    compiled = compile_template(template)
    template["a"]["b"].append(2)
    template["p"]["$plain"].append(2)
    assert compiled.evaluate({}) == {"a": {"b": [1]}, "p": [1]}


def test_a_static_template_costs_hardly_anything():
    """A request without formulas is evaluated far faster than it is compiled."""
    template = {"query": {f"key{n}": [n, {"x": n}] for n in range(50)}}
    compiled = compile_template(template)

    def best(call):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(20):
                call()
            times.append(time.perf_counter() - start)
        return min(times)

    assert best(lambda: compiled.evaluate({})) * 3 < best(lambda: evaluate(template, {}))


def nested(levels, leaf=1):
    for _ in range(levels):
        leaf = [leaf]
    return leaf


@pytest.mark.parametrize(
    "template",
    [
        nested(64),
        nested(100_000),
        {"$plain": nested(100_000)},
        {"$concat": nested(100_000)},
        [1] * 100_000,
        {"$plain": [1] * 100_000},
    ],
    ids=["65 levels", "very deep", "deep plain", "deep formula", "wide", "wide plain"],
)
def test_a_template_beyond_the_limits_is_refused(template):
    """Depth and size are limited, and a deep template does not exhaust the stack."""
    with pytest.raises(ConfigurationError, match="at most"):
        check(template)


def test_a_template_at_the_limits_is_accepted():
    """64 levels and 100,000 nodes are allowed."""
    assert evaluate(nested(63), {}) == nested(63)
    assert len(evaluate([1] * 99_999, {})) == 99_999


def test_deep_data_does_not_exhaust_the_stack():
    """Data may be nested as deep as it likes; comparing and reading it still works."""
    variables = {"a": nested(50_000), "b": nested(50_000)}
    same = {"$eval": {"$var": "$.a"}, "is": {"$var": "$.b"}}
    condition = {"field": "$.a.x", "operator": "is", "value": 1}
    assert evaluate(same, variables) is True
    assert evaluate({"$case": [{"filter": [condition], "value": 1}]}, variables) is UNDEFINED
    with pytest.raises(ConfigurationError):
        evaluate({"$concat": [{"$var": "$.a"}]}, variables)


TEXT = {"big": "x" * 9_000_000, "list": list(range(500_000)), "blank": " " * 9_000_000}
ROW = {"from": {"$var": "$.list2"}, "to": 1}


@pytest.mark.parametrize(
    "template",
    [
        {"$tpl": {"template": "{x}{x}", "values": {"x": {"$var": "$.big"}}}},
        {"$concat": [{"$var": "$.big"}, {"$var": "$.big"}]},
        {"$concat": {"values": ["a"] * 1000, "delimiter": {"$var": "$.big"}}},
        [{"$concat": ["y", {"$var": "$.big"}]}] * 1000,
        [{"$eval": {"$var": "$.big"}, "contains": "zz"}] * 10_000,
        [{"$eval": {"$var": "$.blank"}, "is": 1}] * 10_000,
        [{"$eval": -1, "oneOf": {"$var": "$.list"}}] * 10_000,
        [{"$eval": {"$var": "$.list"}, "is": "x"}] * 10_000,
        {"$map": {"value": {"$var": "$.list"}, "mapping": [ROW] * 10_000}},
    ],
)
def test_an_evaluation_that_would_take_too_much_stops(template):
    """Neither text nor comparisons can grow past their limits; it ends in seconds."""
    variables = TEXT | {"list2": [*TEXT["list"][:-1], -1]}
    started = time.monotonic()
    with pytest.raises(ConfigurationError) as caught:
        evaluate(template, variables)
    assert time.monotonic() - started < 20
    assert set(caught.value.data) == {"path", "operator", "found"}


@pytest.mark.parametrize("template", [{1: 2}, {"a": object()}, b"x", {"a": {1}}, (1,)])
def test_what_is_not_json_is_refused(template):
    """A template that JSON cannot hold is an error, not a crash."""
    with pytest.raises(ConfigurationError):
        check(template)


SINGLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
LOCATOR = st.sampled_from(["$", "$.a", "$.a.b[0]", "$.list", "$.n", "missing", "$.text"])
NAME = st.sampled_from(["data-collection", "app-data-schema", "people", "$sum(list)", "("])
WORDS = "$nope is gt oneOf contains isEmpty cases filter value values default delimiter"
WORDS += " template mapping from to a field operator dataLinkTable recordId key type query create"
WORDS += " createIfNotFound dataSource item source parameters"
KEY = st.sampled_from([*OPERATORS, *WORDS.split()])
TEMPLATES = st.recursive(
    SINGLE | NAME | LOCATOR | st.builds(lambda locator: {"$var": locator}, LOCATOR),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=15,
)
DATA = st.dictionaries(
    st.sampled_from(["a", "b", "list", "n", "text"]),
    st.recursive(SINGLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
)


@given(template=TEMPLATES, variables=DATA)
def test_nothing_but_a_configuration_error_ever_comes_out(template, variables):
    """Any template over any data gives a value or a ConfigurationError, and changes neither."""
    before = repr((template, variables))
    first = outcome(template, variables)
    assert repr(outcome(template, variables)) == repr(first)
    assert repr((template, variables)) == before


@given(template=TEMPLATES, variables=DATA, told=SINGLE | st.lists(SINGLE, max_size=2))
def test_whatever_is_answered_nothing_else_comes_out(template, variables, told):
    """So it is with answers to what formulas ask, whatever they are."""

    async def desk(questions, _):
        return dict.fromkeys(questions, told)

    async def evaluated():
        compiled = compile_template(template)
        with answering(desk):
            return await computed(lambda: compiled.evaluate(variables))

    with contextlib.suppress(ConfigurationError):
        asyncio.run(evaluated())


def outcome(template, variables):
    try:
        return compile_template(template).evaluate(variables)
    except ConfigurationError as error:
        return sorted(error.data)


PLAIN = st.recursive(
    SINGLE, lambda inner: st.lists(inner) | st.dictionaries(st.text().map("k".__add__), inner)
)


@given(PLAIN)
def test_plain_data_comes_out_as_it_went_in(data):
    """Data without formulas is its own value."""
    assert repr(evaluate(data, {})) == repr(data)
