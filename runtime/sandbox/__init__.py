"""Runs JavaScript and JSONata that nobody has to trust, each in a process that can do nothing.

A worker holds a pool (`pool.py`); the pool holds a nursery (`nursery.py`), a small process that
forks children (`child.py`), each for one run; a child shuts itself in (`confine.py`, `seccomp.py`)
before it reads the code, and gives it to the engine (`engine.py`, `bootstrap.js`), or evaluates
expressions (`expressions.py`). Whatever code wants from outside it asks the worker for
(`conversation.py`).
"""
