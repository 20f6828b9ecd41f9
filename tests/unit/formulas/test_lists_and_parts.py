"""Formulas that go through lists, merge objects, take parts out of values, and copy results."""

from __future__ import annotations

import time

import pytest

from runtime.errors import ConfigurationError
from runtime.formulas.template import UNDEFINED, check, compile_template, evaluate

DEALS = [{"id": 1, "title": "A", "tags": ["x", "y"]}, {"id": 2, "title": "", "tags": []}]
VARIABLES = {"deals": DEALS, "name": "Ada King Lovelace", "rate": 3, "nothing": None}


def _var(path):
    return {"$var": path}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"$iterate": {"source": _var("$.deals"), "item": _var("$.item.id")}}, [1, 2]),
        ({"$iterate": {"source": _var("$.deals"), "item": _var("$.item.title")}}, ["A"]),
        ({"$iterate": {"source": _var("$.deals"), "item": _var("$.index")}}, [1]),
        ({"$iterate": {"source": [1, 2], "item": _var("$.parent.rate")}}, [3, 3]),
        ({"$iterate": {"source": _var("$.deals"), "item": {"n": _var("$.item.no")}}}, UNDEFINED),
        ({"$iterate": {"source": _var("$.missing"), "item": 1}}, UNDEFINED),
        ({"$iterate": {"source": [], "item": 1}}, UNDEFINED),
        (
            {
                "$iterate": {
                    "source": _var("$.deals"),
                    "item": {
                        "$iterate": {
                            "source": _var("$.item.tags"),
                            "item": {
                                "$concat": [_var("$.parent.item.id"), _var("$.item")],
                            },
                        }
                    },
                }
            },
            [["1x", "1y"]],
        ),
        ({"$mergeObjects": [{"a": 1, "b": 1}, _var("$.nothing"), {"b": 2}]}, {"a": 1, "b": 2}),
        ({"$mergeObjects": _var("$.deals")}, DEALS[1]),
        ({"$mergeObjects": []}, UNDEFINED),
        ({"$mergeObjects": [_var("$.missing")]}, UNDEFINED),
        ({"$firstName": _var("$.name")}, "Ada King"),
        ({"$lastName": _var("$.name")}, "Lovelace"),
        ({"$firstName": "Plato"}, UNDEFINED),
        ({"$lastName": " Plato "}, "Plato"),
        ({"$lastName": " "}, UNDEFINED),
        ({"$firstName": _var("$.nothing")}, UNDEFINED),
        ({"$domainFromEmail": "ada@example.com"}, "example.com"),
        ({"$domainFromEmail": "ada@b@example.com"}, UNDEFINED),
        ({"$domainFromEmail": "ada"}, UNDEFINED),
        ({"$domainFromEmail": "ada@"}, UNDEFINED),
        ({"$extractDate": "2026-01-31T23:30:00-02:00"}, "2026-02-01"),
        ({"$extractTime": "2026-01-31T23:30:00-02:00"}, "01:30:00"),
        ({"$extractDate": "2026-01-31"}, "2026-01-31"),
        ({"$extractTime": "2026-01-31"}, "00:00:00"),
        ({"$extractTime": "Sat, 31 Jan 2026 12:00:05 GMT"}, "12:00:05"),
        ({"$extractDate": 0}, "1970-01-01"),
        ({"$extractDate": "soon"}, UNDEFINED),
        ({"$extractDate": 1e300}, UNDEFINED),
        ({"$extractDate": "9" * 10_000}, UNDEFINED),
        ({"$record": {"id": 7, "name": "x"}}, 7),
        ({"$record": {"name": "x"}}, UNDEFINED),
        ({"$record": _var("$.nothing")}, UNDEFINED),
        (
            {"$formula": {"$eval": _var("$.rate"), "is": {"$concat": ["a"]}}},
            {"$eval": 3, "is": {"$concat": ["a"]}},
        ),
        ({"$formula": [_var("$.missing"), {"a": _var("$.rate")}]}, [{"a": 3}]),
    ],
)
def test_what_they_give(template, expected):
    """Each gives what the contract says for input that is in order."""
    assert evaluate(template, VARIABLES) == expected


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ({"a": {"$iterate": [1]}}, "/a/$iterate", "a list"),
        ({"$iterate": {"item": 1}}, "/$iterate/source", "nothing"),
        ({"$iterate": {"source": []}}, "/$iterate/item", "nothing"),
        ({"$iterate": {"source": 5, "item": 1}}, "/$iterate/source", "a number"),
        ({"$mergeObjects": {"a": 1}}, "/$mergeObjects", "an object"),
        ({"$copy": 5}, "/$copy", "a number"),
        ({"a": {"$concat": [{"$copy": "$.b"}]}}, "/a/$concat/0/$copy", "$copy"),
        ({"$formula": [{"$var": 5}]}, "/$formula/0/$var", "a number"),
    ],
)
def test_what_is_written_wrongly_is_found_before_it_is_used(template, path, found):
    """The error names the place and what was found there."""
    with pytest.raises(ConfigurationError) as caught:
        check(template)
    assert (caught.value.data["path"], caught.value.data["found"]) == (path, found)


@pytest.mark.parametrize(
    ("template", "operator"),
    [
        ({"$iterate": {"source": _var("$.rate"), "item": 1}}, "$iterate"),
        ({"$mergeObjects": [_var("$.rate")]}, "$mergeObjects"),
        ({"$firstName": _var("$.rate")}, "$firstName"),
        ({"$extractDate": _var("$.deals")}, "$extractDate"),
        ({"$record": _var("$.name")}, "$record"),
    ],
)
def test_values_of_the_wrong_kind_are_errors(template, operator):
    """What the published evaluator makes nothing of is an error that says what was found."""
    with pytest.raises(ConfigurationError) as caught:
        evaluate(template, VARIABLES)
    assert caught.value.data["operator"] == operator


def test_a_copy_repeats_what_the_result_holds():
    """It is filled in when everything else is built, with the value and not the formula."""
    template = {
        "owner": {"id": _var("$.rate"), "tags": ["x"]},
        "contact": {"ownerId": {"$copy": "$.owner.id"}, "all": {"$copy": "$.owner"}},
        "gone": {"$copy": "$.owner.missing"},
        "listed": [{"$copy": "$.owner.tags[0]"}],
    }
    compiled = compile_template(template)
    built = compiled.evaluate(VARIABLES)
    assert built == {
        "owner": {"id": 3, "tags": ["x"]},
        "contact": {"ownerId": 3, "all": {"id": 3, "tags": ["x"]}},
        "listed": ["x"],
    }
    built["contact"]["all"]["tags"].append("y")
    assert built["owner"]["tags"] == ["x"]
    assert compiled.evaluate(VARIABLES)["contact"]["all"]["tags"] == ["x"]


@pytest.mark.parametrize(
    "template",
    [
        {"a": {"$copy": "$.b"}, "b": {"$copy": "$.a"}},
        {"a": {"$copy": "$.a"}},
        {"a": {"b": {"$copy": "$.a"}}},
        {"$copy": "$.a"},
        {"a": 1, "b": {"$copy": "$.a"}, "c": {"$copy": "$.b"}},
    ],
)
def test_a_copy_of_a_copy_is_an_error(template):
    """Copies neither chain nor contain themselves."""
    with pytest.raises(ConfigurationError) as caught:
        evaluate(template, {})
    assert caught.value.data["operator"] == "$copy"


def test_lists_of_lists_cannot_hold_a_worker():
    """Nested iterations over large lists are refused within moments, not computed for hours."""
    template: dict = {"$var": "$.item"}
    for _ in range(5):
        inner = {"source": {"$plain": list(range(1, 200))}, "item": template}
        template = {"$iterate": inner}
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="smaller"):
        evaluate(template, {})
    assert time.monotonic() - began < 2


def test_copies_of_much_are_bounded():
    """A result cannot be multiplied without end by copying it."""
    big = {f"k{number}": number for number in range(1000)}
    template = {"big": big, "copies": [{"$copy": "$.big"} for _ in range(1000)]}
    with pytest.raises(ConfigurationError, match="smaller"):
        evaluate(template, {})
