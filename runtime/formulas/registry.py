"""Which formulas there are: the table from a formula's name to the function that compiles it.

To add one, write its function in `operators/` and its line here.
"""

from __future__ import annotations

import re
from typing import Final

from runtime.formulas.operators.choice import case, map_value
from runtime.formulas.operators.logic import all_of, any_of, evaluate_comparison
from runtime.formulas.operators.text import concat, tpl
from runtime.formulas.operators.values import first_not_empty, plain, var
from runtime.formulas.source import Operator

__all__ = ["FORMULA_NAME", "NOT_OFFERED", "OPERATORS"]

#: The formulas that are offered.
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
}

#: The contract's formulas that are not offered yet; a template that has one is refused.
NOT_OFFERED: Final[frozenset[str]] = frozenset(
    {
        "$copy",
        "$dataSchemaRef",
        "$domainFromEmail",
        "$extractDate",
        "$extractTime",
        "$findAppRecordId",
        "$findExternalRecordId",
        "$firstName",
        "$formula",
        "$iterate",
        "$jsonata",
        "$lastName",
        "$lookup",
        "$mergeObjects",
        "$record",
    }
)

#: A first key that looks like this means a formula; "$", "$1" and "$.a" are plain keys.
FORMULA_NAME: Final = re.compile(r"\$[A-Za-z_]")
