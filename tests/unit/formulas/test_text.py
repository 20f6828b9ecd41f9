"""The operators that build text."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigurationError
from runtime.formulas.template import UNDEFINED, check, evaluate

MISSING = {"$var": "$.missing"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (MISSING, ""),
        (None, ""),
        (False, "false"),
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-1.5, "-1.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (10**21, "1e+21"),
        (2**63, "9223372036854775808"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ([1, None, [2, "x"]], "1,,2,x"),
    ],
)
def test_values_read_as_the_contract_writes_them(value, text):
    """Numbers, booleans and lists become the text that the contract's clients expect."""
    assert evaluate({"$tpl": {"template": "<{v}>", "values": {"v": value}}}, {}) == f"<{text}>"


def test_a_number_too_long_for_python_to_write_reads_as_infinity():
    """An integer of 5,000 digits is no crash."""
    assert evaluate({"$concat": [{"$var": "$.n"}]}, {"n": -(10**5000)}) == "-Infinity"


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("no placeholder", {}, "no placeholder"),
        ("{a} and {a}", {"a": 1}, "1 and 1"),
        ("{a}{unknown}", {"a": 1}, "1{unknown}"),
        ("{{a}} {a b} {}", {"a": 1, "a b": 2, "": 3}, "{1} 2 3"),
        ("{ a }{a.b}", {"a": 1}, "{ a }{a.b}"),
        ("", {}, ""),
    ],
)
def test_tpl_puts_values_in(template, values, expected):
    """Placeholders that have a value are replaced, others stay."""
    assert evaluate({"$tpl": {"template": template, "values": values}}, {}) == expected


def test_a_value_is_not_read_as_a_template_again():
    """A customer who writes {secret} in a field does not see the field named secret."""
    values = {"note": {"$var": "$.note"}, "secret": "s3cret"}
    result = evaluate(
        {"$tpl": {"template": "{note}{secret}", "values": values}}, {"note": "{secret}"}
    )
    assert result == "{secret}s3cret"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (["a", 1, True, 1.0], "a1true1"),
        (["a", None, MISSING, "", [], "b"], "ab"),
        ({"values": ["a", "", "b"], "delimiter": ", "}, "a, b"),
        ({"values": ["a", "b"], "delimiter": None}, "ab"),
        ({"values": ["a", "b"], "delimiter": MISSING}, "ab"),
        ({"values": ["a", "b"], "delimiter": 0}, "a0b"),
        ({"values": {"$var": "$.list"}, "delimiter": "-"}, "1-x"),
        ({"values": MISSING}, UNDEFINED),
        ([], UNDEFINED),
        ([MISSING], UNDEFINED),
        ([None], ""),
        ([""], ""),
    ],
)
def test_concat_joins_what_is_there(argument, expected):
    """Null and "" are skipped; without any value the result is undefined."""
    assert evaluate({"$concat": argument}, {"list": [1, "", "x"]}) == expected


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"$tpl": "Hi {name}"}, "/$tpl"),
        ({"$tpl": {"values": {}}}, "/$tpl/template"),
        ({"$tpl": {"template": {"$var": "$.a"}}}, "/$tpl/template"),
        ({"$tpl": {"template": "", "values": [1]}}, "/$tpl/values"),
        ({"$tpl": {"template": "", "values": {"$var": "$.a"}}}, "/$tpl/values"),
        ({"$concat": "x"}, "/$concat"),
        ({"$concat": None}, "/$concat"),
        ({"$concat": {"$var": "$.a"}}, "/$concat"),
        ({"$concat": {"delimiter": ","}}, "/$concat/values"),
        ({"$concat": {"values": "x"}}, "/$concat/values"),
    ],
)
def test_check_finds_arguments_that_cannot_work(template, path):
    """The place of a wrong argument is named before the template is used."""
    with pytest.raises(ConfigurationError) as caught:
        check(template)
    assert caught.value.data["path"] == path
    assert caught.value.data["operator"] in {"$tpl", "$concat"}


@pytest.mark.parametrize(
    "template",
    [
        {"$tpl": {"template": "{v}", "values": {"v": {"$var": "$.deal"}}}},
        {"$concat": ["Deal ", {"$var": "$.deal"}]},
        {"$concat": ["Deals ", [{"$var": "$.deal"}]]},
        {"$concat": {"values": {"$var": "$.name"}}},
    ],
)
def test_an_object_never_becomes_text(template):
    """What would be sent as [object Object] is an error instead."""
    with pytest.raises(ConfigurationError):
        evaluate(template, {"deal": {"id": 1}, "name": "acme"})
