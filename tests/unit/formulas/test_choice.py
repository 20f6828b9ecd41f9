"""The operators that choose."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigurationError
from runtime.formulas.template import UNDEFINED, check, evaluate

MISSING = {"$var": "$.missing"}
YES = {"$eval": 1, "is": 1}
NO = {"$eval": 1, "is": 2}
VARIABLES = {
    "no": False,
    "yes": True,
    "zero": 0,
    "empty": "",
    "none": None,
    "name": "Acme",
    "tags": [{"n": "a", "l": [1, 2]}, {"n": "b"}],
    "list": ["a", "b"],
    "bare": [],
}


@pytest.mark.parametrize(
    ("filter_", "matches"),
    [
        (YES, True),
        (NO, False),
        ({"$and": [YES, NO]}, False),
        ({"$or": [YES, NO]}, True),
        ({"$or": []}, True),
        ({"$var": "$.yes"}, True),
        ({"$var": "$.name"}, True),
        ({"$var": "$.no"}, False),
        ({"$var": "$.zero"}, False),
        ({"$var": "$.empty"}, False),
        ({"$var": "$.none"}, True),
        (MISSING, True),
        (None, True),
        (True, True),
        (False, True),
        ({}, True),
        ([], True),
    ],
)
def test_a_case_matches_by_its_filter(filter_, matches):
    """A true filter matches, and so does one that is nothing or, by contract, literally false."""
    template = {"$case": {"cases": [{"filter": filter_, "value": "hit"}], "default": "default"}}
    assert evaluate(template, VARIABLES) == ("hit" if matches else "default")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ([{"filter": NO, "value": 1}, {"filter": YES, "value": 2}, {"value": 3}], 2),
        ({"cases": [{"value": 1}], "default": 2}, 1),
        ({"cases": [], "default": {"$var": "$.name"}}, "Acme"),
        ({"cases": [{"filter": NO, "value": 1}]}, UNDEFINED),
        ({"cases": [], "default": None}, UNDEFINED),
        ({"cases": [{"value": None}], "default": 2}, None),
        ({"cases": [{"filter": YES, "value": MISSING}], "default": 2}, UNDEFINED),
        ({"cases": [{"filter": YES}], "default": 2}, UNDEFINED),
        ([], UNDEFINED),
    ],
)
def test_case_takes_the_first_match(argument, expected):
    """The first match decides, even if its value is undefined; then the default."""
    assert evaluate({"$case": argument}, VARIABLES) == expected


@pytest.mark.parametrize(
    ("field", "operator", "value", "holds"),
    [
        ("name", "is", "Acme", True),
        ("name", "is_not", "Acme", False),
        ("zero", "is", "0", True),
        ("missing", "is", None, True),
        ("tags.n", "is", "b", True),
        ("tags.n", "is_not", "b", True),
        ("tags[0].n", "is", "b", False),
        ("name", "is_one_of", ["Acme"], True),
        ("name", "is_not_one_of", ["Acme"], False),
        ("yes", "is_true", None, True),
        ("no", "is_true", None, False),
        ("no", "is_false", None, True),
        ("zero", "is_false", None, False),
        ("name", "contains", "cm", True),
        ("name", "contains", "CM", False),
        ("list", "contains", "b", True),
        ("empty", "contains", "", False),
        ("empty", "does_not_contain", "x", False),
        ("name", "does_not_contain", "x", True),
        ("list", "array_includes", "a", True),
        ("name", "array_includes", "Acme", False),
        ("list", "array_does_not_include", "a", False),
        ("name", "array_does_not_include", "Acme", True),
        ("zero", "less_than", "1", True),
        ("zero", "less_than_or_equal", 0, True),
        ("zero", "more_than", 0, False),
        ("zero", "more_than_or_equal", 0, True),
        ("name", "less_than", 1, False),
        ("bare", "is_empty", None, True),
        ("bare.n", "is_empty", None, True),
        ("zero", "is_empty", None, False),
        ("name", "is_not_empty", None, True),
    ],
)
def test_conditions_in_the_older_form_hold(field, operator, value, holds):
    """A list of {field, operator, value} works as a filter, any item of a list counting."""
    condition = {"field": f"$.{field}", "operator": operator, "value": value}
    template = {"$case": [{"filter": [condition], "value": "hit"}]}
    assert evaluate(template, VARIABLES) == ("hit" if holds else UNDEFINED)


def test_all_conditions_of_a_list_must_hold():
    """One condition that does not hold is enough to pass over a case."""
    good = {"field": "$.name", "operator": "is", "value": "Acme"}
    bad = {"field": "$.zero", "operator": "is", "value": 1}
    template = {"$case": [{"filter": [good, bad], "value": 1}, {"filter": [good], "value": 2}]}
    assert evaluate(template, VARIABLES) == 2


ROWS = [
    {"from": "a", "to": 1},
    {"from": 1, "to": "one"},
    {"from": {"k": [1]}, "to": "object"},
    {"from": None, "to": "nothing"},
    {"from": "0", "to": "zero"},
    {"to": "never: nothing came before"},
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", 1),
        (1, "one"),
        ("1", "one"),
        (" 1.0 ", "one"),
        (True, "one"),
        ([1], "one"),
        (0, "zero"),
        (False, "zero"),
        (None, "nothing"),
        (MISSING, "nothing"),
        ({"k": [1.0]}, "object"),
        ({"k": [True]}, "default"),
        ({"k": ["1"]}, "default"),
        ("0x1", "one"),
        ("", "default"),
        ("A", "default"),
        ("1 EUR", "default"),
    ],
)
def test_map_finds_the_first_row_that_is_like_the_value(value, expected):
    """A row matches by contents or loosely: "1" is 1, nothing is null."""
    template = {"$map": {"value": value, "mapping": ROWS, "default": "default"}}
    assert evaluate(template, VARIABLES) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"value": "a", "mapping": [{"from": "a", "to": MISSING}], "default": 1}, UNDEFINED),
        ({"value": "a", "mapping": [{"from": "a"}], "default": 1}, UNDEFINED),
        ({"value": "a", "mapping": []}, UNDEFINED),
        ({"value": "a", "mapping": [], "default": None}, None),
        ({"mapping": [{"to": 1}]}, 1),
        ({"value": "Acme", "mapping": [{"from": {"$var": "$.name"}, "to": 1}]}, 1),
    ],
)
def test_map_edges(argument, expected):
    """A match whose result is undefined is a match; without one the default holds."""
    assert evaluate({"$map": argument}, VARIABLES) == expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"$case": None}, "/$case"),
        ({"$case": {"default": 1}}, "/$case/cases"),
        ({"$case": {"cases": {"$var": "$.list"}}}, "/$case/cases"),
        ({"$case": {"$var": "$.list"}}, "/$case"),
        ({"$case": ["x"]}, "/$case/0"),
        ({"$case": [{"filter": "x"}]}, "/$case/0/filter"),
        ({"$case": [{"filter": 0}]}, "/$case/0/filter"),
        ({"$case": [{"filter": {"and": []}}]}, "/$case/0/filter"),
        ({"$case": [{"filter": ["x"]}]}, "/$case/0/filter/0"),
        ({"$case": [{"filter": [{}]}]}, "/$case/0/filter/0/field"),
        ({"$case": [{"filter": [{"field": "$.a"}]}]}, "/$case/0/filter/0/operator"),
        (
            {"$case": [{"filter": [{"field": "$.a", "operator": "like"}]}]},
            "/$case/0/filter/0/operator",
        ),
        (
            {"$case": [{"filter": [{"field": "$.a", "operator": "is", "value": MISSING}]}]},
            "/$case/0/filter/0/value",
        ),
        (
            {"$case": [{"filter": [{"field": "$.a", "operator": "is_one_of", "value": 1}]}]},
            "/$case/0/filter/0/value",
        ),
        ({"$map": None}, "/$map"),
        ({"$map": {"value": 1}}, "/$map/mapping"),
        ({"$map": {"value": 1, "mapping": [None]}}, "/$map/mapping/0"),
    ],
)
def test_check_finds_choices_that_cannot_work(template, path):
    """The place of a wrong case, filter or row is named before the template is used."""
    with pytest.raises(ConfigurationError) as caught:
        check(template)
    assert caught.value.data["path"] == path
    assert caught.value.data["operator"] in {"$case", "$map"}


def test_the_error_says_what_was_found():
    """An operator of configuration reads the place, the formula and what stands there."""
    with pytest.raises(ConfigurationError) as caught:
        check({"query": {"limit": {"$case": {"cases": ["ten"]}}}})
    assert caught.value.data == {
        "path": "/query/limit/$case/cases/0",
        "operator": "$case",
        "found": "a string",
    }
    assert "/query/limit/$case/cases/0" in caught.value.message
