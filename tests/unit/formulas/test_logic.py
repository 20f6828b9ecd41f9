"""The operators that say yes or no."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigurationError
from runtime.formulas.template import UNDEFINED, check, evaluate

MISSING = {"$var": "$.missing"}
YES = {"$eval": 1, "is": 1}
NO = {"$eval": 1, "is": 2}


@pytest.mark.parametrize(
    ("left", "operator", "right", "expected"),
    [
        (1, "is", "1", True),
        (1, "is", True, True),
        (0, "is", "", True),
        (0, "is", False, True),
        (None, "is", MISSING, True),
        (None, "is", 0, False),
        (None, "is", "", False),
        ("Hello", "is", "hello", False),
        ("a", "is", "a", True),
        (16, "is", "0x10", True),
        ("Infinity", "is", 10**400, False),
        ([], "is", "", True),
        ({"k": 1}, "is", {"k": 1}, True),
        ({"k": 1}, "is", {"k": 2}, False),
        ([1, [2]], "is", [1, [2]], True),
        ({}, "is", "[object Object]", False),
        (1, "isNot", "1", False),
        ("a", "isNot", MISSING, True),
        ("a", "oneOf", ["b", "a"], True),
        ("1", "oneOf", [1], False),
        (True, "oneOf", [1], False),
        (1, "oneOf", [1.0], True),
        ({"k": 1}, "oneOf", [{"k": 1}], True),
        ("a", "oneOf", MISSING, False),
        ("a", "noneOf", ["b"], True),
        ("a", "noneOf", MISSING, True),
        ("Hello", "contains", "ELL", True),
        (12, "contains", 1, True),
        (0, "contains", 0, False),
        (False, "contains", "", False),
        ("Hello", "contains", "", True),
        ("Hello", "contains", MISSING, False),
        (MISSING, "contains", "x", False),
        (["a", "B"], "contains", "b", False),
        (["a", "B"], "contains", "B", True),
        ({"k": 1}, "contains", "k", False),
        ("Hello", "doesNotContain", "ell", False),
        (None, "doesNotContain", "x", True),
        (1, "lt", "2", True),
        ("10 EUR", "gt", "9 EUR", True),
        ("1e3", "gte", 1000, True),
        (" .5", "lt", 1, True),
        ("-Infinity", "lt", 0, True),
        (True, "gt", 0, False),
        (None, "lt", 1, False),
        ("abc", "lte", "abc", False),
        ({}, "gt", 0, False),
        (2, "lte", 2, True),
        (MISSING, "isEmpty", True, True),
        ("", "isEmpty", False, True),
        ([], "isEmpty", None, True),
        ({}, "isEmpty", True, True),
        (0, "isEmpty", True, False),
        (False, "isEmpty", True, False),
        ([None], "isEmpty", True, False),
        (0, "isNotEmpty", True, True),
        (None, "isNotEmpty", True, False),
    ],
)
def test_eval_compares(left, operator, right, expected):
    """Each comparison gives the contract's answer; lists and objects compare by contents."""
    assert evaluate({"$eval": left, operator: right}, {}) is expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"$eval": 1}, ""),
        ({"$eval": 1, "$gt": 0}, ""),
        ({"$eval": 1, "greater": 0}, ""),
        ({"$eval": 1, "gt": 0, "lt": 9}, ""),
        ({"$eval": 1, "oneOf": "abc"}, "/oneOf"),
        ({"$eval": 1, "noneOf": {"a": 1}}, "/noneOf"),
        ({"$eval": {"$var": 5}, "is": 1}, "/$eval/$var"),
    ],
)
def test_a_comparison_that_does_not_exist_is_an_error(template, path):
    """A misspelt, missing or doubled operator never counts as true."""
    with pytest.raises(ConfigurationError) as caught:
        check({"q": template})
    assert caught.value.data["path"] == "/q" + path


def test_other_keys_beside_the_operator_are_ignored():
    """A note beside the operator does no harm."""
    assert evaluate({"$eval": 1, "is": 1, "note": "why"}, {}) is True


def test_a_comparison_survives_the_order_of_keys_in_a_database():
    """PostgreSQL's jsonb puts shorter keys first; the comparison still compares."""
    assert evaluate({"is": 2, "$eval": 1}, {}) is False
    assert evaluate({"a": 1, "$eval": 1, "is": 2}, {}) == {"a": 1, "$eval": 1, "is": 2}


def test_a_list_that_the_data_does_not_give_is_an_error():
    """`oneOf` over something that is no list says so when it happens."""
    with pytest.raises(ConfigurationError) as caught:
        evaluate({"$eval": 1, "oneOf": {"$var": "$.x"}}, {"x": "abc"})
    assert caught.value.data == {"path": "/oneOf", "operator": "$eval", "found": "a string"}


@pytest.mark.parametrize(
    ("members", "all_of", "any_of"),
    [
        ([YES, YES], True, True),
        ([YES, NO], False, True),
        ([NO, NO], False, False),
        ([None, YES, MISSING], True, True),
        ([None, MISSING], UNDEFINED, UNDEFINED),
        ([], UNDEFINED, UNDEFINED),
        ([1, "x", [], {}], True, True),
        ([0, "", float("nan")], False, False),
        ({"$var": "$.list"}, False, True),
        (MISSING, UNDEFINED, UNDEFINED),
    ],
)
def test_and_and_or_combine(members, all_of, any_of):
    """Members that are nothing do not count; if none counts, there is no answer."""
    assert evaluate({"$and": members}, {"list": [1, 0]}) is all_of
    assert evaluate({"$or": members}, {"list": [1, 0]}) is any_of


@pytest.mark.parametrize("name", ["$and", "$or"])
@pytest.mark.parametrize("argument", [None, True, "x", {}, {"a": 1}])
def test_and_and_or_take_lists(name, argument):
    """An argument that can never be a list is found by check."""
    with pytest.raises(ConfigurationError):
        check({name: argument})
