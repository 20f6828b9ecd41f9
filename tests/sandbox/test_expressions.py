"""JSONata in the sandbox: what it gives, and what hostile expressions cost."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from runtime.errors import CustomCodeError, RunTimedOutError
from runtime.sandbox.batch import Batch


def _batch(*asked):
    """Return a batch of pairs: an expression and what it sees."""
    batch = Batch()
    for number, (expression, seen) in enumerate(asked):
        batch.add(expression, [(f"frame-{number}", orjson.dumps(seen))])
    return batch


async def _one(runner, expression, seen=None):
    (result,) = await runner.sandbox.evaluate(_batch((expression, seen or {})), tenant="acme")
    return result


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$sum($.lines.price)", 3.5),
        ("lines[price > 1].price", 2.5),
        ("lines.price", [1, 2.5]),
        ("nothing", None),
        ("1 = 1", True),
        ("$uppercase(name) & '!'", "ÅSA!"),
        ("$formatNumber(1234.5, '#,##0.00')", "1,234.50"),
        ("$fromMillis(0)", "1970-01-01T00:00:00.000Z"),
        ("$toMillis('2020-01-01T00:00:00Z')", 1577836800000),
        ("$base64encode('a')", "YQ=="),
        ("$split('a,b', ',')", ["a", "b"]),
        ("$match('ab12', /[0-9]+/).match", "12"),
        ("$sort(lines, function($l, $r) { $l.price < $r.price }).price", [2.5, 1]),
        ("{'total': $sum(lines.price)}", {"total": 3.5}),
        ("$encodeUrlComponent('a b')", "a%20b"),
        ("$round(2.5)", 2),
        ("$length($string($random())) > 2", True),
        ("$eval('1+1')", 2),
        ("$now() > '2020'", True),
    ],
)
async def test_expressions_give_what_jsonata_says(runner, expression, value):
    """The functions of JSONata work in a process that can open no file."""
    seen = {"name": "Åsa", "nothing": None, "lines": [{"price": 1}, {"price": 2.5}]}
    assert await _one(runner, expression, seen) == {"value": value}


async def test_what_is_not_there_has_no_value(runner):
    """Undefined is not null."""
    assert await _one(runner, "missing") == {}


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ('1 / "a"', "must evaluate to a number"),
        ('$error("no such plan")', "no such plan"),
        ("($f := function($x) { $f($x) + 1 }; $f(1))", "recursive"),
        ("$sum", "no JSON"),
        ("$nope()", "non-function"),
        ("[1..100000000]", "range"),
        ("$number('x')", "convert"),
    ],
)
async def test_an_expression_that_fails_says_why(runner, expression, says):
    """An error is never nothing."""
    result = await _one(runner, expression)
    assert says in result["error"], result


@pytest.mark.parametrize(
    "expression",
    [
        "($f := function($x) { $f($x + 1) }; $f(1))",
        "$match($join([1..40].('a')) & 'b', /^(a+)+$/)",
        "[1..9000000].{'a': $, 'b': $string($)}",
        "$pad('', 9000000000)",
        "($d := function($s, $n) { $n = 0 ? $s : $d($s & $s, $n - 1) }; $length($d('x', 60)))",
    ],
    ids=["endless", "regular expression", "many objects", "wide", "doubling"],
)
async def test_a_hostile_expression_costs_itself_only(runner, expression):
    """Time and memory are limited, and the next expression works."""
    async with asyncio.timeout(30):
        try:
            result = await _one(runner, expression)
        except (CustomCodeError, RunTimedOutError):
            result = {"error": "ended"}
        assert "error" in result, str(result)[:200]
        assert await _one(runner, "1 + 1") == {"value": 2}


async def test_a_thousand_expressions_are_one_batch(runner):
    """What is around many items is sent once and seen by all."""
    batch = Batch()
    around = ("around", orjson.dumps({"rate": 2, "filler": "x" * 1_000_000}))
    for number in range(1000):
        frames = [(f"item-{number}", orjson.dumps({"item": number})), around]
        batch.add("item * parent.rate", frames)
    assert len(batch.dump(1.0)) < 1_200_000
    results = await runner.sandbox.evaluate(batch, tenant="acme")
    assert [each["value"] for each in results] == [2 * number for number in range(1000)]
