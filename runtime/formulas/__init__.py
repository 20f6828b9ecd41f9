"""Formulas: configuration that is computed for each run, such as `{"$var": "$.input.limit"}`.

`template.py` is the door: `evaluate`, `check` and `compile_template`. An operator is one function
in `operators/` and one line in `registry.py`.
"""
