"""Locators: the way to a value inside the variables, such as `$.input.deals[0].owner\\.id`.

`$` is the variables themselves and `$.` at the front may be left out. A backslash takes the next
character as part of a name, also `.`, `[`, `]` or `\\`. On a list, a name that is a plain number
counts as an index, and `length` is the number of items, as the contract's clients have it.

The published evaluator reads a list's item as undefined when the item is 0, "", null or false.
That is a mistake; here an item reads as what it is. It also answers null for a locator that
cannot be understood; here that is an error, found before the template is ever used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtime.formulas.undefined import UNDEFINED

__all__ = ["Locator", "LocatorError", "parse_locator", "read_locator"]

#: The steps from the variables: a name is a string, an index of a list is an int.
Locator = tuple[str | int, ...]

#: Characters; names in real data have tens.
_LONGEST = 10_000
_NAME = re.compile(r"(?:[^.\[\\]|\\.|\\\Z)*", re.DOTALL)
#: Fifteen digits are more than any list has, and fewer than the 4,300 at which int() refuses.
_INDEX = re.compile(r"\[\s*(\d{1,15})\s*\]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_NUMBER = re.compile(r"(?:0|[1-9]\d{0,14})\Z", re.ASCII)


class LocatorError(ValueError):
    """The text is not a locator; the message says why, in words that follow the locator."""


def parse_locator(text: str) -> Locator:
    """Return the steps that a locator names; raises LocatorError."""
    if len(text) > _LONGEST:
        raise LocatorError(f"has more than {_LONGEST:,} characters")
    if not text:
        raise LocatorError("is empty; `$` is everything")
    if text == "$":
        return ()
    at = 0
    steps: list[str | int] = []
    if text[0] != "$":
        at = _read_name(text, 0, steps)
    elif text[1] in ".[":
        at = 1
    else:
        raise LocatorError("has no `.` or `[` after `$`")
    while at < len(text):
        at = _read_step(text, at, steps)
    return tuple(steps)


def _read_step(text: str, at: int, steps: list[str | int]) -> int:
    if text[at] == ".":
        return _read_name(text, at + 1, steps)
    index = _INDEX.match(text, at)
    if index is None:
        raise LocatorError(f"has no `.name` and no `[index]` at character {at}")
    steps.append(int(index[1]))
    return index.end()


def _read_name(text: str, at: int, steps: list[str | int]) -> int:
    name = _NAME.match(text, at)
    assert name is not None  # noqa: S101 - the pattern also matches nothing
    steps.append(_ESCAPE.sub(r"\1", name[0]))
    return name.end()


def read_locator(locator: Locator, variables: Mapping[str, Any]) -> Any:
    """Return the value itself, not a copy, to which the locator leads, or UNDEFINED."""
    value: Any = variables
    for step in locator:
        if isinstance(value, list):
            value = _item(value, step)
        elif isinstance(value, Mapping) and isinstance(step, str):
            value = value.get(step, UNDEFINED)
        else:
            return UNDEFINED
    return value


def _item(items: list[Any], step: str | int) -> Any:
    if isinstance(step, str):
        if step == "length":
            return len(items)
        if not _PLAIN_NUMBER.match(step):
            return UNDEFINED
        step = int(step)
    return items[step] if step < len(items) else UNDEFINED
