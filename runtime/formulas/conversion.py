"""How values read as text and as numbers: the rules of JavaScript.

Configurations that were made for the contract's clients expect them: 1.0 reads as "1", a list as
its items by comma, and "12 EUR" as 12 where a number is asked for.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from runtime.formulas.undefined import UNDEFINED

if TYPE_CHECKING:
    from runtime.formulas.limits import Budget

__all__ = ["as_number", "as_text", "leading_number"]

#: Lists nested deeper than this have no text.
_TEXT_DEPTH = 64
#: From here on a number's text has an exponent; below the second too.
_LARGE = 1e21
_SMALL = 1e-6
#: Characters of a numeral that are looked at; a float tells fewer than 800 apart.
_NUMERAL = 1000

_DECIMAL = r"[+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_LEADING = re.compile(_DECIMAL, re.ASCII)
_WHOLE = re.compile(_DECIMAL + r"\Z", re.ASCII)
_OTHER_BASE = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)\Z")


def as_text(value: Any, budget: Budget, depth: int = 0) -> str | None:
    """Return a value as text; nothing and null are "".

    None if there is no useful text: an object, which the published evaluator writes as
    `[object Object]`, or a list with one in it.
    """
    if isinstance(value, str):
        return value
    if value is None or value is UNDEFINED:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(value)
    if isinstance(value, list) and depth < _TEXT_DEPTH:
        return _list_text(value, budget, depth)
    return None


def _list_text(items: list[Any], budget: Budget, depth: int) -> str | None:
    budget.read(items)
    texts = []
    size = len(items)
    for item in items:
        text = as_text(item, budget, depth + 1)
        if text is None:
            return None
        size += len(text)
        texts.append(text)
    budget.build(size)
    return ",".join(texts)


def leading_number(value: Any, budget: Budget) -> float:
    """Return the number with which a value's text begins, or NaN if it begins with none."""
    if isinstance(value, bool) or value is None or value is UNDEFINED:
        return math.nan
    if isinstance(value, int | float):
        return _float(value)
    text = as_text(value, budget) or ""
    budget.read(text)
    found = _LEADING.match(text.lstrip()[:_NUMERAL])
    return float(found[0].replace("Infinity", "inf")) if found else math.nan


def as_number(value: Any, budget: Budget) -> float:
    """Return the number that a text, number or boolean stands for as a whole, or NaN."""
    if not isinstance(value, str):
        return value if isinstance(value, int | float) else math.nan
    budget.read(value)
    text = value.strip()
    if not text:
        return 0
    if len(text) > _NUMERAL:
        return math.nan
    if _WHOLE.match(text):
        return float(text.replace("Infinity", "inf"))
    return int(text, 0) if _OTHER_BASE.match(text) else math.nan


def _number_text(value: float) -> str:
    """Return a number as JavaScript writes it: 1.0 as 1, 1e20 in full, 1e21 with an exponent."""
    number = _float(value)
    size = abs(number)
    if isinstance(value, int) and size < _LARGE:
        return str(value)
    if math.isnan(number) or math.isinf(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    digits = Decimal(repr(number)).normalize()
    if _SMALL <= size < _LARGE:
        return format(digits, "f")
    mantissa, _, exponent = format(digits, "e").partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
