"""Which formulas there are: the table from a formula's name to the function that compiles it.

To add one, write its function in `operators/` and its line here.
"""

from __future__ import annotations

import re
from typing import Any, Final

from runtime.formulas.operators.choice import case, map_value
from runtime.formulas.operators.lists import iterate, merge_objects
from runtime.formulas.operators.logic import COMPARISONS, all_of, any_of, evaluate_comparison
from runtime.formulas.operators.lookups import (
    data_schema_ref,
    find_app_record_id,
    find_external_record_id,
    jsonata,
    lookup,
)
from runtime.formulas.operators.parts import (
    domain_from_email,
    extract_date,
    extract_time,
    first_name,
    last_name,
    record,
)
from runtime.formulas.operators.structure import copy, formula
from runtime.formulas.operators.text import concat, tpl
from runtime.formulas.operators.values import first_not_empty, plain, var
from runtime.formulas.source import Operator

__all__ = ["OPERATORS", "formula_name", "is_known_formula"]

#: The formulas: all of the contract's.
OPERATORS: Final[dict[str, Operator]] = {
    "$var": var,
    "$plain": plain,
    "$tpl": tpl,
    "$concat": concat,
    "$map": map_value,
    "$case": case,
    "$eval": evaluate_comparison,
    "$and": all_of,
    "$or": any_of,
    "$firstNotEmpty": first_not_empty,
    "$iterate": iterate,
    "$mergeObjects": merge_objects,
    "$firstName": first_name,
    "$lastName": last_name,
    "$domainFromEmail": domain_from_email,
    "$extractDate": extract_date,
    "$extractTime": extract_time,
    "$record": record,
    "$formula": formula,
    "$copy": copy,
    "$jsonata": jsonata,
    "$lookup": lookup,
    "$findExternalRecordId": find_external_record_id,
    "$findAppRecordId": find_app_record_id,
    "$dataSchemaRef": data_schema_ref,
}

#: A first key that looks like this means a formula; "$", "$1" and "$.a" are plain keys.
_LOOKS_LIKE_FORMULA: Final = re.compile(r"\$[A-Za-z_]")


def formula_name(value: Any) -> str | None:
    """Return the name of the formula that a value is meant to be, known or not; else None.

    The first key decides. `$eval` may also come after its operator: PostgreSQL's jsonb puts short
    keys first, and would turn a stored comparison into plain data.
    """
    if not isinstance(value, dict):
        return None
    first = next(iter(value), None)
    if not isinstance(first, str):
        return None
    if _LOOKS_LIKE_FORMULA.match(first):
        return first
    return "$eval" if first in COMPARISONS and "$eval" in value else None


def is_known_formula(value: Any) -> bool:
    """Return whether a value is one of the contract's formulas."""
    return formula_name(value) in OPERATORS
