"""Formulas: configuration that is computed for each run, such as `{"$var": "$.input.limit"}`.

`template.py` compiles and evaluates. An operator is one function in `operators/` and one line in
`registry.py`. What a formula has to look up it asks (`questions.py`): where templates of tenants
are evaluated, that happens inside `await computed(lambda: …)`.
"""

from __future__ import annotations

from runtime.formulas.questions import answering, computed, computed_in_turns
from runtime.formulas.template import UNDEFINED, Compiled, check, compile_template, evaluate

__all__ = [
    "UNDEFINED",
    "Compiled",
    "answering",
    "check",
    "compile_template",
    "computed",
    "computed_in_turns",
    "evaluate",
]
