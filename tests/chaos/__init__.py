"""The fault-injection suite: `python -m tests.chaos --seed N --seconds S`.

    load client (history of each request) -> APIs -> PostgreSQL and Valkey -> workers, schedulers
                                                        each behind a fault link of its own
    ledger: the outside app, which notes each call          nemesis: one fault at a time, then pairs
    trials: fairness, hostile apps, bad requests, beside the load and before the first fault
    checker: joins history, database and ledger at the end, and prints a figure for each invariant

The servers stand on a small file system of their own, if that may be mounted, so that it can be
full. With `--beside COMMIT` the second process of each kind runs that commit's code.

Everything that a seed decides comes from it: which requests, which faults, in which order. What the
machine decides, such as which run a kill meets, does not; a seed brings back the story, not the
microsecond.
"""
