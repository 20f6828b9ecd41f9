"""Formulas: configuration that is computed for each run, such as `{"$var": "$.input.limit"}`.

`template.py` compiles and evaluates. An operator is one function in `operators/` and one line in
`registry.py`.
"""

from __future__ import annotations

from runtime.formulas.template import UNDEFINED, Compiled, check, compile_template, evaluate

__all__ = ["UNDEFINED", "Compiled", "check", "compile_template", "evaluate"]
