"""A tenant's work in several steps: each step's result is on record before the next begins."""
