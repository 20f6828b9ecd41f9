"""Locators and the operators that give one value."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigurationError
from runtime.formulas.template import UNDEFINED, check, evaluate

VARIABLES = {
    "input": {
        "name": "acme",
        "zero": 0,
        "nothing": None,
        "empty": "",
        "falsy": [0, "", None, False, "last"],
        "rows": [[1, 2], [3]],
        "a.b": {"c[0]": 7, "back\\slash": 8, "": 9},
        "0": "a key",
    },
    "user": {"id": "customer-123"},
}


@pytest.mark.parametrize(
    ("locator", "expected"),
    [
        ("$.input.name", "acme"),
        ("input.name", "acme"),
        ("$", VARIABLES),
        ("$.input.rows[0][1]", 2),
        ("$.input.rows[1].0", 3),
        ("$.input.rows[ 0 ].length", 2),
        ("$.input.zero", 0),
        ("$.input.nothing", None),
        ("$.input.empty", ""),
        (r"$.input.a\.b.c\[0\]", 7),
        (r"$.input.a\.b.back\\slash", 8),
        (r"$.input.a\.b.", 9),
        (r"$.\input.n\ame", "acme"),
        ("$.input.0", "a key"),
    ],
)
def test_a_locator_leads_to_a_value(locator, expected):
    """Names, indexes and escapes lead to the value, whatever it is."""
    assert evaluate({"$var": locator}, VARIABLES) == expected


@pytest.mark.parametrize(
    "locator",
    [
        "$.missing",
        "$.input.name.length",
        "$.input.name[0]",
        "$.input.nothing.x",
        "$.input[0]",
        "$.input.rows[9]",
        "$.input.rows[999999999999999]",
        "$.input.rows.01",
        "$.input.rows.keys",
        "$..input",
        "$.input.__class__",
    ],
)
def test_a_path_to_nowhere_is_undefined(locator):
    """What is not in the data is undefined, and nothing of Python shows through."""
    assert evaluate({"$var": locator}, VARIABLES) is UNDEFINED


@pytest.mark.parametrize(("index", "item"), [(0, 0), (1, ""), (2, None), (3, False), (4, "last")])
def test_a_falsy_item_of_a_list_reads_as_what_it_is(index, item):
    """0, "", null and false in a list are values, not gaps."""
    read = evaluate({"$var": f"$.input.falsy[{index}]"}, VARIABLES)
    assert read == item
    assert type(read) is type(item)


@pytest.mark.parametrize(
    "locator",
    [
        *("", "$input", "$$", "$.a[", "$.a[]", "$.a[-1]", "$.a[*]", "$.a[x]", "$.a[1", "$.a[0]b"),
        *("$.a[1.5]", r"$.a[0]\[1]", "[0", "a" * 10_001, None, 5, [], {}, {"$var": "$.a"}),
    ],
)
def test_a_locator_that_makes_no_sense_is_refused_before_it_is_used(locator):
    """A broken locator is a configuration error with its place, never a silent null."""
    with pytest.raises(ConfigurationError) as caught:
        check({"query": [{"$var": locator}]})
    assert caught.value.data["path"] == "/query/0/$var"
    assert caught.value.data["operator"] == "$var"


def test_plain_keeps_formulas_as_data():
    """Inside $plain nothing is evaluated."""
    inner = {"$var": "$.input.name", "list": [{"$jsonata": "x"}, {}], "$top": None}
    assert evaluate({"a": {"$plain": inner}}, VARIABLES) == {"a": inner}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([None, {"$var": "$.missing"}, "", 1], ""),
        ([{"$var": "$.input.nothing"}, {"$var": "$.input.zero"}], 0),
        ([None, False], False),
        ([{"a": {"$var": "$.missing"}}, 2], 2),
        ([{}], {}),
        ([], UNDEFINED),
        ([None], UNDEFINED),
        ({"$var": "$.input.falsy"}, 0),
        ({"$var": "$.missing"}, UNDEFINED),
    ],
)
def test_first_not_empty_takes_the_first_that_is_there(members, expected):
    """Null and undefined are passed over; "", 0 and false are values."""
    assert evaluate({"$firstNotEmpty": members}, VARIABLES) == expected


@pytest.mark.parametrize("members", [None, "x", {"a": 1}, 3])
def test_first_not_empty_refuses_what_is_no_list(members):
    """An argument that can never be a list is found by check."""
    with pytest.raises(ConfigurationError, match="takes a list"):
        check({"$firstNotEmpty": members})


def test_a_formula_that_gives_no_list_is_refused_when_it_does():
    """What only the data can show is an error of the evaluation, with its place."""
    with pytest.raises(ConfigurationError) as caught:
        evaluate({"a": {"$firstNotEmpty": {"$var": "$.input.name"}}}, VARIABLES)
    assert caught.value.data == {
        "path": "/a/$firstNotEmpty",
        "operator": "$firstNotEmpty",
        "found": "a string",
    }
