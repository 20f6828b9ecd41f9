"""The page on formulas says what formulas do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runtime.formulas import check, evaluate
from runtime.formulas.registry import OPERATORS

PAGE = (Path(__file__).parents[3] / "docs/reference/formulas.md").read_text()
ROWS = re.findall(r"^\| `(\$\w+)` \| `(.*?)` \| (.*?) \|$", PAGE, re.MULTILINE)
VARIABLES = json.loads(re.search(r"```json\n(.*?)\n```", PAGE, re.DOTALL)[1])
ASKING = {name for name, _, gives in ROWS if name == "$jsonata" or not gives.startswith("`")}


def test_every_formula_has_its_row():
    """In no other number and under no other name."""
    assert sorted(name for name, _, _ in ROWS) == sorted(OPERATORS)


@pytest.mark.parametrize(("name", "example", "gives"), ROWS, ids=[name for name, _, _ in ROWS])
def test_examples_give_what_the_page_says(name, example, gives):
    """Those that have to be looked up are at least written rightly."""
    template = json.loads(example)
    assert f'"{name}"' in example
    if name in ASKING:
        check(template)
    else:
        assert evaluate(template, VARIABLES) == json.loads(gives.strip("`"))


def test_the_formulas_that_ask_are_named():
    """The page's list of them is complete."""
    listed = PAGE.split("## Formulas that look something up")[1].split(" are computed")[0]
    assert set(re.findall(r"`(\$\w+)`", listed)) == ASKING
