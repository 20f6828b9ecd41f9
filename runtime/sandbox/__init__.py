"""Runs JavaScript that nobody has to trust, each run in a process of its own that can do nothing.

A worker holds a pool (`pool.py`); the pool holds a nursery (`nursery.py`), a small process that
forks children (`child.py`), each for one run; a child shuts itself in (`confine.py`, `seccomp.py`)
before it reads the code, and gives it to the engine (`engine.py`, `bootstrap.js`). Whatever the
code wants from outside it asks the worker for (`conversation.py`).
"""
