"""The operators: each is one function that checks its argument and returns the step to run.

A function here takes the place of its argument (`Source`), refuses what cannot work, and returns
a closure from the evaluation's `State` to a value or UNDEFINED.
"""
